"""How good the committee was on labels it had not seen, and whether its deviation told so beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ...mlip.frames import LabelledFrame
from ...mlip.fresh import errors
from ...mlip.fresh_plot import atomic_energies
from .canvas import COLOURS, Card, drawn, legend_above, log_axis, mark, put_ticks, span, thinned, told_thinned
from .story import ARMS, Fresh, Story, why_no_predictions

FLOOR = 1e-4
"""eV/Å: smaller forces, errors and deviations are none, and drawn here on logarithmic axes."""
RESAMPLED = 400
"""Draws behind an interval."""
QUANTITIES = {
    "forces": ("Forces", "meV/Å", "forces_rmse_meV_per_A"),
    "energy": ("Energy", "meV/atom", "energy_rmse_meV_per_atom"),
}
"""Quantity -> title, unit, key in the document of errors."""
NAMES = {"deviation": "chosen: uncertain", "random": "chosen: random", "": "not chosen by arm"}


def why_no_forces(story: Story) -> str:
    """One sentence on why there are no predicted forces to compare; '' where there are."""
    if not story.fresh:
        return why_no_predictions(story)
    largest = max(
        float(np.abs(values).max())
        for batch in story.fresh
        for label in batch.labels
        for predicted in (batch.predictions[label.configuration.configuration_id],)
        for values in (label.forces, predicted.forces, predicted.force_deviation)
    )
    return "" if largest > FLOOR else f"No force exceeds {FLOOR:g} eV/Å, as in cells of one atom: nothing to compare."


def no_predictions(story: Story) -> str:
    """One sentence on why there is nothing that was predicted; '' where there is."""
    return "" if story.fresh else why_no_predictions(story)


def arms_of(batches: Sequence[Fresh]) -> list[str]:
    """The arms that have labels."""
    return [arm for arm in (*ARMS, "") if any(batch.of(arm) for batch in batches)]


def colour(arm: str) -> str:
    """Of an arm."""
    return COLOURS.get(arm, COLOURS["data"])


def squares(batch: Fresh, labels: Sequence[LabelledFrame], quantity: str) -> NDArray[np.float64]:
    """(frames, 2): summed squared error ((meV/Å)^2 or (meV/atom)^2) and number of components of each frame."""
    rows = []
    for label in labels:
        predicted = batch.predictions[label.configuration.configuration_id]
        if quantity == "forces":
            difference = 1000 * (predicted.forces - label.forces).ravel()
        else:
            difference = np.array([1000 * (predicted.energy - label.energy) / len(label)])
        rows.append((float((difference**2).sum()), len(difference)))
    return np.array(rows, dtype=float)


def interval(rows: NDArray[np.float64]) -> tuple[float, float]:
    """5 and 95 % quantiles of the RMSE over resampled frames: what so few frames can tell."""
    drawn_rows = rows[np.random.default_rng(0).integers(0, len(rows), (RESAMPLED, len(rows)))].sum(axis=1)
    low, high = np.quantile(np.sqrt(drawn_rows[:, 0] / drawn_rows[:, 1]), (0.05, 0.95))
    return float(low), float(high)


def learning_curve(story: Story, quantity: str) -> Card:
    """RMSE on fresh labels against the size of the dataset the predicting committee had been trained on."""
    title, unit, key = QUANTITIES[quantity]
    name, heading = f"learning-{quantity}", f"{title}: error on fresh labels"
    after = [
        (each["dataset"]["n_frames"], each["errors"]["after"][key])
        for each in story.iterations
        if "after" in each.get("errors", {}) and each.get("dataset", {}).get("n_frames")
    ]
    if why := why_no_forces(story) if quantity == "forces" else no_predictions(story):
        return Card(name, heading, absent=why)
    known = [batch for batch in story.fresh if batch.trained_on]
    if not known:
        return Card(
            name, heading, absent="The predicting committee was brought along without the data it had learnt from."
        )
    target = story.settings.get("stop", {}).get("force_rmse") if quantity == "forces" else None

    def draw(figure: Any, axes: Any) -> None:
        seen = [value for _, value in after]
        for arm in arms_of(known):
            points = [(b.trained_on, squares(b, b.of(arm), quantity)) for b in known if b.of(arm)]
            shift = {"deviation": 0.985, "random": 1.015}.get(arm, 1.0)
            sizes = [size * shift for size, _ in points]
            values = np.array([np.sqrt(rows[:, 0].sum() / rows[:, 1].sum()) for _, rows in points])
            bounds = np.array([interval(rows) for _, rows in points])
            whiskers = np.abs(bounds - values[:, None]).T
            axes.errorbar(sizes, values, yerr=whiskers, fmt="none", elinewidth=1.2, ecolor=colour(arm))
            mark(axes.plot(sizes, values, "o-", ms=6, lw=1.6, color=colour(arm), label=NAMES[arm]))
            seen += [*values, *bounds.ravel()]
        if after:
            mark(axes.plot(*zip(*after, strict=True), "s--", ms=5, mfc="none", lw=1, color=COLOURS["after"],
                           label="after training on them"))  # fmt: skip
        if target is not None:
            axes.axhline(1000 * target, color=COLOURS["ink"], lw=1, ls=":", label="target")
            seen.append(1000 * target)
        sizes_seen = sorted({*(batch.trained_on for batch in known), *(size for size, _ in after)})
        log_axis(axes.yaxis, *span(seen))
        log_axis(axes.xaxis, *span(sizes_seen, 1.2))
        put_ticks(axes.xaxis, spread(sizes_seen))
        axes.set(xlabel="frames the committee had been trained on", ylabel=f"RMSE, {unit}")
        legend_above(figure, axes, 2)

    caption = "Filled: predicted before labelling; bars hold 90 % of resampled frames. Open: after training on them."
    alt = f"{title}: RMSE in {unit} on fresh labels against the number of frames trained on, both axes logarithmic."
    return drawn(name, heading, caption, alt, draw)


def spread(sizes: Sequence[int], wanted: int = 6) -> list[int]:
    """Of ascending sizes, those far enough apart on a logarithmic axis to be labelled."""
    kept: list[int] = []
    apart = (np.log(sizes[-1]) - np.log(sizes[0])) / wanted
    for size in sizes:
        if not kept or np.log(size) - np.log(kept[-1]) >= apart:
            kept.append(size)
    return kept


def parity(story: Story, quantity: str) -> Card:
    """Predicted before labelling against the label: force components, or energies above the atoms."""
    title = QUANTITIES[quantity][0]
    name, heading = f"parity-{quantity}", f"{title}: prediction against label"
    if why := why_no_forces(story) if quantity == "forces" else no_predictions(story):
        return Card(name, heading, absent=why)
    unit = "eV/Å" if quantity == "forces" else "eV/atom"
    references = atomic_references(story)
    pairs = {arm: parity_pairs(story.fresh, arm, quantity, references) for arm in arms_of(story.fresh)}
    count = sum(len(values) for values in pairs.values())

    def draw(figure: Any, axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        every = np.concatenate(list(pairs.values()))
        low, high = float(every.min()), float(every.max())
        room = 0.04 * (high - low) or 1.0
        axes.plot([low - room, high + room], [low - room, high + room], color=COLOURS["mute"], lw=1)
        for arm, values in pairs.items():
            shown = values[thinned(len(values))]
            mark(axes.plot(shown[:, 0], shown[:, 1], "o", ms=4 if quantity == "forces" else 6, mew=0, alpha=0.6,
                           color=colour(arm), label=NAMES[arm]))  # fmt: skip
        limits = (low - room, high + room)
        axes.set(xlim=limits, ylim=limits, xlabel=f"label, {unit}", ylabel=f"predicted before, {unit}")
        axes.set_box_aspect(1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6))
        legend_above(figure, axes, 2)

    what = f"{count} force components" if quantity == "forces" else f"{count} energies"
    extra = f" Energies are counted from {story.zero}." if quantity == "energy" else ""
    thin = told_thinned(map(len, pairs.values()))
    caption = f"{what} of all iterations with a committee, predicted before labelling.{extra}{thin}"
    return drawn(name, heading, caption, f"Scatter of {what}: prediction against label in {unit}.", draw, 4.6)


def parity_pairs(
    batches: Sequence[Fresh], arm: str, quantity: str, references: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(k, 2) label and prediction in eV/Å or, above the atoms, eV/atom."""
    found = [np.zeros((0, 2))]
    for batch in batches:
        for label in batch.of(arm):
            predicted = batch.predictions[label.configuration.configuration_id]
            if quantity == "forces":
                found.append(np.stack([label.forces.ravel(), predicted.forces.ravel()], axis=1))
            else:
                zero = references[label.configuration.numbers].sum()
                found.append((np.array([[label.energy, predicted.energy]]) - zero) / len(label))
    return np.concatenate(found)


def atomic_references(story: Story) -> NDArray[np.float64]:
    """(19,) eV by atomic number: the campaign's, or fitted to all of its labels (least squares)."""
    return atomic_energies(story.frames, story.references)


def element_card(story: Story) -> Card:
    """RMSE of the forces on the atoms of each element, predicted before labelling."""
    name, title = "element-errors", "Force error, element by element"
    if why := why_no_forces(story):
        return Card(name, title, absent=why)
    numbers = np.concatenate([label.configuration.numbers for batch in story.fresh for label in batch.labels])
    values = np.concatenate([_force_errors(batch, batch.labels) for batch in story.fresh])
    present = sorted({int(z) for z in numbers})

    def draw(figure: Any, axes: Any) -> None:
        for arm in arms_of(story.fresh):
            own = [(batch, batch.of(arm)) for batch in story.fresh if batch.of(arm)]
            of_arm = np.concatenate([label.configuration.numbers for _, labels in own for label in labels])
            error = np.concatenate([_force_errors(batch, labels) for batch, labels in own])
            here = [z for z in present if (of_arm == z).any()]
            rmse = [float(np.sqrt((error[of_arm == z] ** 2).mean())) for z in here]
            mark(axes.plot([present.index(z) for z in here], rmse, "o", ms=6, alpha=0.8, mew=0, color=colour(arm),
                           label=NAMES[arm]))  # fmt: skip
        axes.set_xticks(range(len(present)), [chemical_symbols[z] for z in present], fontsize=10)
        axes.set(ylabel="RMSE of a force component, eV/Å", xlim=(-0.7, len(present) - 0.3))
        axes.set_ylim(bottom=0)
        legend_above(figure, axes, 2)

    counts = [int((numbers == z).sum()) for z in present]
    caption = f"{len(values)} atoms, {min(counts)} to {max(counts)} of an element; predicted before labelling."
    told = ", ".join(f"{chemical_symbols[z]} {np.sqrt((values[numbers == z] ** 2).mean()):.2g}" for z in present)
    return drawn(name, title, caption, f"RMSE of forces by element in eV/Å, both arms: {told}.", draw)


def _force_errors(batch: Fresh, labels: Sequence[LabelledFrame]) -> NDArray[np.float64]:
    """(atoms,) eV/Å: root mean square over the three components of each atom's force error."""
    predicted = [batch.predictions[label.configuration.configuration_id] for label in labels]
    difference = np.concatenate([p.forces - label.forces for p, label in zip(predicted, labels, strict=True)])
    return np.asarray(np.sqrt((difference**2).mean(axis=1)))


def series(story: Story, arm: str, quantity: str) -> list[tuple[int, float, int]]:
    """(frames trained on, RMSE in meV, fresh labels) of each iteration that has labels of this arm."""
    key = QUANTITIES[quantity][2]
    return [
        (batch.trained_on, errors(labels, batch.predictions)[key], len(labels))
        for batch in story.fresh
        if (labels := batch.of(arm))
    ]


def newest(story: Story, arm: str, quantity: str) -> float | None:
    """RMSE of the latest iteration that has labels of this arm; None if there is none."""
    found = series(story, arm, quantity)
    return found[-1][1] if found else None
