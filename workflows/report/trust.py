"""Whether the committee's deviation tells its error: ranks, ratios, and how often the error stays below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from ...mlip.fresh import deviation_against_error, rank_correlation
from .canvas import COLOURS, Card, drawn, legend_above, log_axis, mark, put_ticks, span, thinned, told_thinned
from .quality import FLOOR, NAMES, arms_of, colour, why_no_forces
from .story import Fresh, Story

MULTIPLES = (1.0, 2.0, 3.0)
STRENGTHS = ((0.2, "hardly any"), (0.4, "a weak"), (0.6, "a moderate"), (0.8, "a strong"), (1.01, "a very strong"))
"""Rank correlation below -> in words."""


def pairs(batches: Sequence[Fresh], arm: str | None = None) -> NDArray[np.float64]:
    """(atoms, 2): force deviation and error of the mean force, eV/Å, before labelling; of one arm or of all."""
    found = [np.zeros((0, 2))]
    for batch in batches:
        labels = batch.labels if arm is None else batch.of(arm)
        if labels:
            told = deviation_against_error(labels, batch.predictions)
            found.append(np.stack([told["deviation"], told["error"]], axis=1))
    return np.concatenate(found)


def below(values: NDArray[np.float64], multiple: float) -> float:
    """Share of atoms whose error is at most so many deviations."""
    return float((values[:, 1] <= multiple * values[:, 0]).mean())


def expected_below(multiple: float) -> float:
    """The same for errors drawn from the committee's own spread, were that an isotropic Gaussian (chi, three axes)."""
    return float(chi2.cdf(3 * multiple**2, 3))


def running_median(values: NDArray[np.float64], bins: int = 8, least: int = 8) -> NDArray[np.float64]:
    """(bins, 2): medians of deviation and error over atoms ordered by deviation; bins of `least` atoms or more."""
    ordered = values[np.argsort(values[:, 0], kind="stable")]
    parts = np.array_split(ordered, max(1, min(bins, len(ordered) // least)))
    return np.array([np.median(part, axis=0) for part in parts])


def deviation_card(story: Story) -> Card:
    """Error against deviation, atom by atom."""
    name, title = "deviation-error", "Deviation against error, per atom"
    values = pairs(story.fresh)
    if why := why_no_forces(story):
        return Card(name, title, absent=why)

    def draw(figure: Any, axes: Any) -> None:
        drawn_values = np.maximum(values, FLOOR)
        horizontal, vertical = span(drawn_values[:, 0]), span(drawn_values[:, 1])
        line = np.array([min(horizontal[0], vertical[0]), max(horizontal[1], vertical[1])])
        axes.plot(line, line, color=COLOURS["mute"], lw=1, label="error = deviation")
        for arm in arms_of(story.fresh):
            own = np.maximum(pairs(story.fresh, arm), FLOOR)
            own = own[thinned(len(own))]
            mark(axes.plot(own[:, 0], own[:, 1], "o", ms=4, mew=0, alpha=0.55, color=colour(arm), label=NAMES[arm]))
        if len(values) >= 24:
            median = np.maximum(running_median(values), FLOOR)
            mark(axes.plot(median[:, 0], median[:, 1], "-", lw=2.2, color=COLOURS["ink"], label="running median"))
        log_axis(axes.xaxis, *horizontal)
        log_axis(axes.yaxis, *vertical)
        axes.set(xlabel="committee force deviation, eV/Å", ylabel="error of the mean force, eV/Å")
        legend_above(figure, axes, 2)

    counts = [len(pairs(story.fresh, arm)) for arm in arms_of(story.fresh)]
    caption = f"{len(values)} atoms of all iterations with a committee, before labelling.{told_thinned(counts)}"
    return drawn(name, title, caption, "Scatter of force error against committee deviation, per atom.", draw)


def calibration_card(story: Story) -> Card:
    """Share of atoms with an error below c deviations, against c."""
    name, title = "calibration", "Is the deviation large enough?"
    if why := why_no_forces(story):
        return Card(name, title, absent=why)
    multiples = np.logspace(np.log10(0.2), np.log10(20), 120)

    def draw(figure: Any, axes: Any) -> None:
        expected = [100 * expected_below(c) for c in multiples]
        axes.plot(multiples, expected, "--", color=COLOURS["mute"], lw=1.2, label="if it told the whole error")
        for arm in arms_of(story.fresh):
            own = pairs(story.fresh, arm)
            mark(axes.plot(multiples, [100 * below(own, c) for c in multiples], lw=2, color=colour(arm),
                           label=NAMES[arm]))  # fmt: skip
        log_axis(axes.xaxis, 0.2, 20)
        put_ticks(axes.xaxis, (0.2, 0.5, 1, 2, 5, 10, 20))
        axes.set(xlabel="multiple c of the deviation", ylabel="errors below c·deviation, %", ylim=(0, 102))
        legend_above(figure, axes, 2)

    caption = (
        "Dashed: errors drawn from a three-dimensional Gaussian as wide as the deviation. A curve to the right of it "
        "means an overconfident committee: what all members get wrong together is no deviation."
    )
    return drawn(name, title, caption, "Share of atoms whose error is below a multiple of the deviation.", draw)


def verdict(story: Story) -> list[str]:
    """What the deviation is worth, in a few sentences and with numbers."""
    values = pairs(story.fresh)
    if len(values) < 3 or why_no_forces(story):
        return []
    correlation = rank_correlation(values[:, 0], values[:, 1])
    ratio = float(np.median(values[:, 1]) / max(float(np.median(values[:, 0])), FLOOR))
    if correlation is None:
        rank = "A rank correlation is not defined here."
    else:
        size = next(word for limit, word in STRENGTHS if abs(correlation) < limit)
        sign = " negative" if correlation <= -STRENGTHS[0][0] else ""
        rank = f"Over all {len(values)} atoms there is {size}{sign} rank correlation ({correlation:.2f}): " + (
            "the deviation says little about which atoms are wrong."
            if correlation < 0.4
            else "larger deviations tend to mean larger errors."
        )
    trust = "overconfident" if ratio > 1.2 else "cautious" if ratio < 0.8 else "about right in size"
    return [
        rank,
        f"The median error is {ratio:.1f} times the median deviation, and {below(values, 1):.0%} of the errors are "
        f"below the deviation ({expected_below(1):.0%} if it told the whole error): as a measure of "
        f"error it is {trust} here.",
        "Atoms of one frame are not independent, and those of the deviation arm were picked for large "
        "deviations, which narrows what a correlation can see.",
    ]


def trust_rows(story: Story) -> list[list[str]]:
    """Per iteration and arm: frames, atoms, medians, rank correlation, shares of errors below multiples."""
    rows = []
    for batch in story.fresh:
        for arm in arms_of([batch]):
            values = pairs([batch], arm)
            correlation = rank_correlation(values[:, 0], values[:, 1])
            rows.append(
                [
                    str(batch.number),
                    NAMES[arm],
                    str(len(batch.of(arm))),
                    str(len(values)),
                    f"{np.median(values[:, 0]):.2f}",
                    f"{np.median(values[:, 1]):.2f}",
                    "not defined" if correlation is None else f"{correlation:.2f}".replace("-", "−"),
                    *(f"{100 * below(values, multiple):.0f}" for multiple in MULTIPLES),
                ]
            )
    if rows:
        gaussian = [f"{100 * expected_below(multiple):.0f}" for multiple in MULTIPLES]
        rows.append(["", "if it told the whole error", "", "", "", "", "", *gaussian])
    return rows
