"""argonaut evaluate: how far a model is from labels it may never have seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .given import IMPORT, OUTPUT_FOLDER


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
@click.option("-o", "--output", type=OUTPUT_FOLDER, help="Folder for metrics, predictions and parity plots.")
@click.option("--skip-unknown", is_flag=True, help="Leave out and count frames with elements the model does not know.")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(["float32", "float64"]))
@IMPORT
def evaluate(
    model: Path, data: tuple[Path, ...], as_json: bool, output: Path | None, skip_unknown: bool, device: str, dtype: str
) -> None:
    """Errors of MODEL on the labelled frames of DATA: energy, forces, stress, and the committee's deviation.

    DATA are dataset folders or extended XYZ files, also of others. Errors are told for all frames, by element, source
    and number of atoms, and the worst frames are named. With -o metrics.json, predictions.extxyz and parity.png are
    written. A MODEL that was trained with `target:` is judged on that number, in any file that training reads.

    \b
    Example:
      argonaut evaluate model test.extxyz more.extxyz -o errors
    """
    from ..property_model import is_property_model

    if is_property_model(model):
        from .property import evaluate_property_model

        evaluate_property_model(model, data, as_json, output, device)
        return
    from ..committee import Committee
    from ..evaluate import metrics, predict, worst
    from ..evaluation_frames import read_evaluation_frames
    from .progress import Progress

    committee = Committee.load(model, device, dtype)
    given = read_evaluation_frames(data, committee.elements, skip_unknown)
    with Progress("predicting", len(given.frames)) as progress:
        predictions = predict(committee, given.frames, progress.update)
    found = {
        **metrics(predictions, given.frames, committee.n_members),
        "worst": worst(predictions, given.frames, given.places),
        "left_out": given.left_out(),
    }
    if output is not None:
        write(output, committee, given.frames, predictions, found)
    click.echo(json.dumps(found, indent=2) if as_json else table(found))


def write(output: Path, committee: Any, frames: Any, predictions: Any, found: dict[str, Any]) -> None:
    """predictions.extxyz, metrics.json and parity.png in the folder `output`."""
    from ..evaluate_plot import plot_parity
    from ..predictions import PredictedFrame, write_predicted
    from .given import writing

    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        pairs = zip(frames, predictions, strict=True)
        write_predicted(output / "predictions.extxyz", (PredictedFrame(f.configuration, p) for f, p in pairs))
        (output / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")
        plot_parity(frames, predictions, output / "parity.png", dict(committee.baseline.reference_energies))


ROWS = (
    ("energy", "energy_mev_per_atom", "meV/atom"),
    ("", "energy_mev_per_structure", "meV/structure"),
    ("forces", "force_mev_per_angstrom", "meV/Å, components"),
    ("", "force_vector_mev_per_angstrom", "meV/Å, |F - F*|"),
    ("stress", "stress_gpa", "GPa"),
)
"""Title, key of the metrics, unit."""
GROUP_ROWS = ("energy_mev_per_atom", "force_mev_per_angstrom", "stress_gpa")


def table(metrics: dict[str, Any]) -> str:
    """The metrics as lines of text."""
    lines = [f"{metrics['n_frames']} frames, {metrics['n_atoms']} atoms            MAE       RMSE"]
    for title, key, unit in ROWS:
        if metrics[key] is not None:
            lines.append(f"  {title:10s} {metrics[key]['mae']:12.3f} {metrics[key]['rmse']:12.3f} {unit}")
    for name, error in metrics["force_per_element"].items():
        lines.append(f"  forces, element {name:12s} {error['mae']:10.1f} {error['rmse']:10.1f} meV/Å")
    for title, key in (("source", "per_source"), ("atoms", "per_n_atoms")):
        lines += _grouped(title, metrics[key])
    if "deviation" in metrics:
        quantiles = metrics["deviation"]["quantiles_ev_per_angstrom"]
        correlation = metrics["deviation"]["rank_correlation_with_error"]
        told = "" if correlation is None else f"; rank correlation with the error {correlation:.2f}"
        shown = ", ".join(f"{q}: {value:.3f}" for q, value in quantiles.items())
        lines.append(f"  force deviation, eV/Å: {shown}{told}")
    lines += _worst(metrics.get("worst", {})) + _left_out(metrics.get("left_out", {}))
    return "\n".join(lines)


def _grouped(title: str, groups: dict[str, dict[str, Any]]) -> list[str]:
    """One line per group with its MAEs; none where there is one group."""
    if len(groups) < 2:
        return []
    lines = [f"  MAE by {title:10s} frames   meV/atom      meV/Å        GPa"]
    for name, group in groups.items():
        values = ["" if group[key] is None else f"{group[key]['mae']:.3f}" for key in GROUP_ROWS]
        lines.append(f"    {name:14.14s} {group['n_frames']:7d}" + "".join(f" {value:>10s}" for value in values))
    return lines


def _worst(worst: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = []
    for key, title in (("by_force", "largest errors of forces"), ("by_energy", "largest errors of energy")):
        rows = worst.get(key, [])
        lines += [f"  {title}:"] if rows else []
        lines += [
            f"    forces {row['force_rmse_mev_per_angstrom']:8.1f} meV/Å, "
            f"energy {row['energy_error_mev_per_atom']:+9.2f} meV/atom: "
            f"{row['file']}, frame {row['index']}: {row['formula']}, {row['source']}"
            for row in rows
        ]
    return lines


def _left_out(left_out: dict[str, Any]) -> list[str]:
    lines = []
    if left_out.get("unknown_elements"):
        elements = ", ".join(f"{name} in {count}" for name, count in left_out["frames_per_unknown_element"].items())
        lines.append(
            f"  left out: {left_out['unknown_elements']} frames with elements the model does not know ({elements}), "
            f"the first is {left_out['first']}"
        )
    if left_out.get("duplicates"):
        lines.append(f"  left out: {left_out['duplicates']} frames that occurred before")
    return lines
