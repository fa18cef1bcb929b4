"""What the campaign took, per stage, and what exploration and selection did with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...provenance_db.spending import core_seconds
from .canvas import COLOURS, HEIGHT, Card, drawn, legend_above, log_axis, mark, span
from .quality import NAMES, arms_of, colour, why_no_forces
from .story import Story, number_of

STAGES = ("generate", "explore", "select", "label", "train", "evaluate")
REASONS = (
    "completed",
    "uncertain",
    "unphysical_distance",
    "unphysical_force",
    "unphysical_temperature",
    "nonfinite",
)
VERDICTS = ("candidate", "accurate", "duplicate", "failed", "unphysical")
LIMITS = {
    "labels": "labels",
    "core_hours": "core-hours",
    "wall_hours": "hours of wall time",
    "lost_share": "share of labels lost",
}
"""Key of a budget -> in words."""
SERIES = ("c0", "c1", "c2", "c3", "c4", "c5")


def stacked(
    name: str,
    title: str,
    caption: str,
    rows: Sequence[tuple[str, Mapping[str, float]]],
    kinds: Sequence[str],
    unit: str,
) -> Card:
    """Horizontal bars, one per row from the top, with a part per kind."""
    present = [kind for kind in kinds if any(values.get(kind) for _, values in rows)]

    def draw(figure: Any, axes: Any) -> None:
        left = np.zeros(len(rows))
        places = np.arange(len(rows))
        for kind in present:
            widths = np.array([float(values.get(kind) or 0) for _, values in rows])
            colour = COLOURS[SERIES[list(kinds).index(kind) % len(SERIES)]]
            bars = axes.barh(places, widths, left=left, height=0.72, color=colour, label=kind.replace("_", " "))
            mark([bar for bar, width in zip(bars, widths, strict=True) if width > 0])
            left += widths
        every = max(1, -(-len(rows) // 14))
        axes.set_yticks(places[::every], [label for label, _ in rows][::every])
        axes.set(xlabel=unit, ylabel="iteration", ylim=(len(rows) - 0.4, -0.6))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        legend_above(figure, axes, 3 if max(map(len, present)) < 12 else 2)

    told = "; ".join(f"{label}: " + ", ".join(f"{kind} {values[kind]:g}" for kind in present if values.get(kind))
                     for label, values in rows[:6])  # fmt: skip
    return drawn(name, title, caption, f"Stacked bars, {unit}. {told}", draw, bar_height(len(rows)))


def bar_height(rows: int) -> float:
    """Inches of a figure with so many horizontal bars."""
    return min(HEIGHT, 1.5 + 0.42 * max(rows, 2))


def row_names(story: Story) -> list[str]:
    """'seed', '1', '2' ...; a further attempt at an iteration gets a dash."""
    names: list[str] = []
    for place, each in enumerate(story.iterations):
        name = str(number_of(each, place) or "seed")
        while name in names:
            name += "′"
        names.append(name)
    return names


def time_card(story: Story) -> Card:
    """Wall time per stage and iteration."""
    name, title = "times", "Wall time per stage"
    pairs = zip(row_names(story), story.iterations, strict=True)
    rows = [(label, {stage: each["seconds"].get(stage, 0) for stage in STAGES}) for label, each in pairs]
    if not any(sum(values.values()) for _, values in rows):
        return Card(name, title, absent="No stage has begun, so that none has taken time.")
    scale, unit = scaled(max(sum(values.values()) for _, values in rows))
    rows = [(label, {stage: value / scale for stage, value in values.items()}) for label, values in rows]
    caption = (
        "From the start of a stage to its end, waiting in queues included; stages follow one another. A stage whose "
        "results came from the cache takes seconds."
    )
    return stacked(name, title, caption, rows, STAGES, f"wall time, {unit}")


def scaled(seconds: float) -> tuple[float, str]:
    """Divisor and unit in which so many seconds are a readable number."""
    return (1, "s") if seconds < 300 else (60, "min") if seconds < 18000 else (3600, "h")


def cost_card(story: Story) -> Card:
    """Core-hours per stage."""
    name, title = "cost", "Core-hours per stage"
    spent = spent_per_stage(story)
    if not spent:
        why = (
            "No calculation has run yet." if not story.jobs else "Everything came from the cache: nothing was computed."
        )
        return Card(name, title, absent=why)
    total = sum(spent.values())

    def draw(figure: Any, axes: Any) -> None:
        names = [stage for stage in STAGES if stage in spent]
        values = [spent[stage] for stage in names]
        bars = axes.barh(range(len(names)), values, height=0.72, color=COLOURS["data"])
        mark(list(bars))
        for place, value in enumerate(values):
            text = f"{value:.2g}  ({value / total:.0%})"
            axes.annotate(text, (value, place), xytext=(5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="core-hours", ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.4 * max(values)))
        axes.locator_params(axis="x", nbins=4)  # small numbers have long names
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)

    cached = sum(job.cached for job in story.jobs or ())
    caption = (
        f"Processes × threads × seconds at work: {total:.3g} core-hours in {len(story.jobs or ()) - cached} jobs"
        f"{f'; {cached} more came from the cache and cost nothing' if cached else ''}. The seconds of pw.x are its "
        "own; those of jobs without a scheduler's account hold also their wait for the daemon."
    )
    told = ", ".join(f"{stage} {value:.3g}" for stage, value in spent.items())
    return drawn(name, title, caption, f"Bars of core-hours per stage: {told}.", draw, bar_height(len(spent)))


def spent_per_stage(story: Story) -> dict[str, float]:
    """Core-hours by stage, of stages that have any."""
    jobs = story.jobs or ()
    spent = {stage: core_seconds([job for job in jobs if job.stage == stage]) / 3600 for stage in STAGES}
    return {stage: hours for stage, hours in spent.items() if hours > 0}


def counts_card(story: Story, name: str, title: str, kinds: Sequence[str], caption: str, unit: str,
                counts: Callable[[Mapping[str, Any]], Mapping[str, float]]) -> Card:  # fmt: skip
    """A stacked bar per iteration that explored."""
    pairs = zip(row_names(story), story.iterations, strict=True)
    rows = [(label, counts(each)) for label, each in pairs if any(counts(each).values())]
    if not rows:
        why = "No iteration has explored yet: exploration needs the committee that the seed set trains."
        return Card(name, title, absent=why)
    return stacked(name, title, caption, rows, kinds, unit)


def ends_card(story: Story) -> Card:
    """Why trajectories stopped."""
    caption = (
        "Every trajectory of the committee ends for one reason: all steps done, an atom too uncertain, or something "
        "unphysical, of which the last frame before it is kept."
    )
    return counts_card(
        story,
        "ends",
        "How trajectories ended",
        REASONS,
        caption,
        "trajectories",
        lambda each: each.get("stop_reasons", {}),
    )


def verdicts_card(story: Story) -> Card:
    """What selection said of the explored frames."""
    caption = (
        "Accurate: below the lower trust level; candidate: between the levels; failed: above the upper one; duplicate: "
        "labelled already, or close to a frame that is."
    )
    return counts_card(
        story, "verdicts", "Verdicts on explored frames", VERDICTS, caption, "frames of the pool",
        lambda each: each.get("selection", {}).get("counts", {}),
    )  # fmt: skip


def chosen_card(story: Story) -> Card:
    """Largest force deviation of every chosen frame, by iteration, with the trust levels between which they lay."""
    name, title = "chosen", "How uncertain the chosen frames were"
    if why := why_no_forces(story):
        return Card(name, title, absent=why)
    levels = [
        (number_of(each, place), [value for value in each["selection"]["thresholds"].values() if value])
        for place, each in enumerate(story.iterations)
        if each.get("selection", {}).get("thresholds")
    ]

    def draw(figure: Any, axes: Any) -> None:
        seen = [value for _, values in levels for value in values]
        for number, values in levels:
            axes.hlines(values, number - 0.4, number + 0.4, color=COLOURS["ink"], lw=1.2, ls=":")
        for arm, shift in zip(arms_of(story.fresh), (-0.14, 0.14, 0.0), strict=False):
            points = np.array([
                (batch.number + shift, batch.predictions[label.configuration.configuration_id].force_deviation_max)
                for batch in story.fresh for label in batch.of(arm)
            ])  # fmt: skip
            mark(axes.plot(*points.T, "o", ms=6, mew=0, alpha=0.6, color=colour(arm), label=NAMES[arm]))
            seen += list(points[:, 1])
        numbers = sorted({batch.number for batch in story.fresh})
        log_axis(axes.yaxis, *span(seen))
        every = max(1, -(-len(numbers) // 10))
        axes.set_xticks(numbers[::every], [str(number) for number in numbers[::every]])
        axes.set(xlabel="iteration", ylabel="largest force deviation, eV/Å", xlim=(numbers[0] - 0.6, numbers[-1] + 0.6))
        legend_above(figure, axes, 2)

    caption = (
        "One point per labelled frame; dotted: the trust levels of the iteration, in the committee's own deviation."
    )
    return drawn(name, title, caption, "Largest force deviation of chosen frames by iteration, logarithmic.", draw)


def budget_rows(story: Story) -> list[list[str]]:
    """(limit, used, of, share) for every limit of the campaign's budget."""
    allowed, spent = story.summary.get("budget") or {}, story.summary.get("spent") or {}
    return [
        [name, f"{spent[key]:.3g}", f"{allowed[key]:g}", f"{spent[key] / allowed[key]:.0%}" if allowed[key] else "–"]
        for key, name in LIMITS.items()
        if allowed.get(key) is not None and key in spent
    ]
