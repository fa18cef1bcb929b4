"""argonaut select: what to label next."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .given import FRAMES, OUTPUT_FOLDER, SEED

if TYPE_CHECKING:
    from ..predictions import PredictedFrame
    from ..select import Selection

FORMAT = "argonaut-selection-1"


@click.command()
@click.argument("pool", type=FRAMES)
@click.option(
    "--dataset", type=click.Path(exists=True, path_type=Path), help="What is labelled already: folder or file."
)
@click.option(
    "--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Predict POOL with it first."
)
@click.option("-n", "--number", type=click.IntRange(min=1), required=True, help="Frames to select, at most.")
@click.option("-o", "--output", type=OUTPUT_FOLDER, required=True, help="Folder to write.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings, YAML or JSON.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Decides the random arm.")
def select(
    pool: Path, dataset: Path | None, model: Path | None, number: int, output: Path, config: Path | None, seed: int
) -> None:
    """Choose frames of POOL to label next.

    POOL is extended XYZ with stored predictions, as `explore` writes it; with --model any extended XYZ, or a folder
    that `generate` has written.

    Writes OUT/candidates.extxyz and OUT/selection.json: a verdict and a reason for every frame. Without any frame to
    select the exit code is 1.

    \b
    Example: argonaut select explored/frames.extxyz --dataset data -n 20 -o selected --seed 3
    """
    from ..dataset import Dataset
    from ..predictions import read_predicted, write_predicted
    from ..select import SelectionSettings
    from ..select import select as choose
    from ..settings import load_settings

    settings = load_settings(SelectionSettings, config)
    frames = read_predicted(pool) if model is None else _predicted(model, pool)
    known = Dataset.load(dataset) if dataset else Dataset(())
    selection = choose(frames, number, settings, seed, [frame.configuration for frame in known.frames])
    output.mkdir(parents=True, exist_ok=True)
    write_predicted(output / "candidates.extxyz", selection.candidates)
    document = {
        "format": FORMAT,
        "seed": seed,
        "settings": dataclasses.asdict(settings),
        "dataset": known.content_hash,
        **selection.to_document(),
    }
    (output / "selection.json").write_text(json.dumps(document, indent=2) + "\n")
    _summary(selection)
    if not selection.candidates:
        click.echo(f"{pool}: no frame to select; selection.json says why for each", err=True)
        raise SystemExit(1)


def _predicted(model: Path, pool: Path) -> list[PredictedFrame]:
    """Frames of POOL with predictions of MODEL in place of any stored ones; trajectory and step are kept."""
    from ..committee import Committee
    from ..frames import read_atoms, read_configurations
    from ..predictions import INFO_KEYS, PredictedFrame

    configurations = read_configurations(pool)
    predictions = Committee.load(model).predict(configurations, stress=False)
    infos = [{key: atoms.info[key] for key in INFO_KEYS if key in atoms.info} for atoms in read_atoms(pool)]
    return [PredictedFrame(*parts) for parts in zip(configurations, predictions, infos, strict=True)]


def _summary(selection: Selection) -> None:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in selection.counts.items() if count)
    arms = ", ".join(f"{count} {arm}" for arm, count in selection.arms.items())
    click.echo(f"pool of {len(selection.verdicts)}: {counts}")
    click.echo(f"trust levels {selection.low:.4f} to {selection.high:.4f} eV/Å")
    click.echo(f"selected {len(selection.candidates)} of {selection.asked} asked ({arms})")
    if selection.filled:
        click.echo(f"{selection.filled} of them are below the trust level: there were too few candidates", err=True)
