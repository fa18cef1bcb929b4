"""Property regression: what `argonaut train` does with a `target:`, and `argonaut evaluate` with such a model."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..property_data import PropertyData
    from ..property_model import PropertyModel

EPOCHS = 10**6
"""Of a training that ends by its budget."""


def train_property_model(
    data: Sequence[Path], output: Path, architecture: str, preset: str, members: int, seed: int, config: Path,
    budget: float | None, stop_after: float | None, device: str, live: Any, picture: bool,
) -> None:  # fmt: skip
    """Read, train, write the model folder and, where it is wanted, the learning curve."""
    from .. import property_model
    from ..graph import device_of
    from ..potential import get_architecture
    from ..property_data import read_property_data
    from ..property_plot import plot_property_curve
    from ..property_training import PropertyPlan, PropertySettings
    from ..settings import load_settings, read_mapping

    settings = load_settings(PropertySettings, config)
    if budget is not None and "epochs" not in read_mapping(config):
        settings = replace(settings, epochs=EPOCHS)
    found = read_property_data(data, settings.target)
    tell_data(found)
    plan = PropertyPlan(found, get_architecture(architecture), preset, settings, device_of(device))
    checkpoints = output / "checkpoints"
    deadline = None if stop_after is None else time.monotonic() + stop_after
    card = {"data": [path.name for path in data], "left_out": dict(found.left_out), "fingerprint": plan.fingerprint}
    model = property_model.train_property(plan, seed, members, card, budget, checkpoints, live.report, deadline)
    model.save(output)
    if picture:
        plot_property_curve(model.metrics, settings.target, output / "learning_curve.png")
    shutil.rmtree(checkpoints, ignore_errors=True)
    best = [member["best"]["validation_mae"] for member in model.card["members"]]
    click.echo(
        f"{output}: {members} member{'s' * (members > 1)} of {architecture}/{preset} for {settings.target.name}, "
        f"{len(found.entries)} structures; validation MAE {', '.join(f'{each:.4g}' for each in best)} {unit(model)}"
    )


def evaluate_property_model(model: Path, data: Sequence[Path], as_json: bool, output: Path | None, device: str) -> None:
    """Errors of a property regression on structures with values."""
    from ..property_data import read_property_data
    from ..property_model import PropertyModel, property_metrics
    from ..property_plot import plot_property_parity
    from .given import writing

    loaded = PropertyModel.load(model)
    found = read_property_data(data, loaded.target)
    predictions = loaded.predict([entry.configuration for entry in found.entries], device)
    errors = {**property_metrics(predictions, found.entries), "unit": unit(loaded), "left_out": dict(found.left_out)}
    if output is not None:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
            (output / "metrics.json").write_text(json.dumps(errors, indent=2) + "\n")
            with (output / "predictions.csv").open("w", newline="", encoding="utf-8") as handle:
                rows = csv.writer(handle)
                rows.writerow(["name", "formula", loaded.target.name, "predicted", "deviation"])
                for entry, mean, deviation in zip(found.entries, predictions.mean(0), predictions.std(0), strict=True):
                    rows.writerow([entry.name, entry.configuration.formula, entry.value, mean, deviation])
            values = [entry.value for entry in found.entries]
            plot_property_parity(values, predictions.mean(0), loaded.target, output / "parity.png")
    click.echo(json.dumps(errors, indent=2) if as_json else table(errors, loaded))


def table(errors: dict[str, Any], model: PropertyModel) -> str:
    """The errors as lines of text."""
    shown = unit(model)
    lines = [
        f"{errors['n_structures']} structures, {model.target.name} in {shown}",
        f"  MAE {errors['mae']:.4g}, RMSE {errors['rmse']:.4g}",
        f"  of always saying the mean: MAE {errors['mean_absolute_deviation']:.4g}",
    ]
    if errors["deviation"] is not None:
        lines.append(f"  deviation of the members {errors['deviation']:.4g}")
    lines += ["  worst:"] + [
        f"    {row['name']}: {row['formula']}, {row['value']:.4g}, error {row['error']:+.4g}" for row in errors["worst"]
    ]
    if errors["left_out"]:
        lines.append(f"  left out: {_counted(errors['left_out'])}")
    return "\n".join(lines)


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())


def unit(model: PropertyModel) -> str:
    """Of the value as learned."""
    target = model.target
    shown = (target.unit or "the file's unit") + (" per atom" if target.extensive else "")
    return f"log10 of {shown}" if target.log10 else shown


def tell_data(found: PropertyData) -> None:
    """What was read and what was left out, on standard error."""
    left_out = f"; left out: {_counted(found.left_out)}" if found.left_out else ""
    click.echo(f"{len(found.entries)} structures{left_out}", err=True)
