"""argonaut evaluate: how far a model is from labels it may never have seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .given import OUTPUT_FOLDER


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
@click.option("-o", "--output", type=OUTPUT_FOLDER, help="Folder for predictions and metrics.")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(["float32", "float64"]))
def evaluate(model: Path, data: Path, as_json: bool, output: Path | None, device: str, dtype: str) -> None:
    """Errors of MODEL on the labelled frames of DATA: energy per atom, forces, stress, and the committee's deviation.

    With -o the predictions are written beside the metrics: predictions.extxyz and metrics.json.

    \b
    Example:
      argonaut evaluate model test.extxyz --json
    """
    from ..committee import Committee
    from ..dataset import Dataset
    from ..evaluate import evaluate as measure
    from ..predictions import PredictedFrame, write_predicted

    frames = Dataset.load(data).frames
    found, predictions = measure(Committee.load(model, device, dtype), frames)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        pairs = zip(frames, predictions, strict=True)
        write_predicted(output / "predictions.extxyz", (PredictedFrame(f.configuration, p) for f, p in pairs))
        (output / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")
    click.echo(json.dumps(found, indent=2) if as_json else table(found))


def table(metrics: dict[str, Any]) -> str:
    """The metrics as lines of text."""
    rows = [("energy", "energy_mev_per_atom", "meV/atom"), ("forces", "force_mev_per_angstrom", "meV/Å")]
    rows.append(("stress", "stress_gpa", "GPa"))
    lines = [f"{metrics['n_frames']} frames, {metrics['n_atoms']} atoms            MAE       RMSE"]
    for title, key, unit in rows:
        if metrics[key] is not None:
            lines.append(f"  {title:10s} {metrics[key]['mae']:12.3f} {metrics[key]['rmse']:12.3f} {unit}")
    for kind in ("element", "source"):
        for name, error in metrics[f"force_per_{kind}"].items():
            lines.append(f"  forces, {kind} {name:12s} {error['mae']:10.1f} {error['rmse']:10.1f} meV/Å")
    if "deviation" in metrics:
        quantiles = metrics["deviation"]["quantiles_ev_per_angstrom"]
        lines.append("  force deviation, eV/Å: " + ", ".join(f"{q}: {value:.3f}" for q, value in quantiles.items()))
    return "\n".join(lines)
