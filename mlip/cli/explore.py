"""argonaut explore: committee molecular dynamics from many starts."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .given import FRAMES, OUTPUT_FOLDER, SEED

if TYPE_CHECKING:
    from ..predictions import PredictedFrame

FORMAT = "argonaut-exploration-1"


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("starts", nargs=-1, required=True, type=FRAMES)
@click.option("-o", "--output", type=OUTPUT_FOLDER, required=True, help="Folder to write.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings, YAML or JSON.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def explore(model: Path, starts: tuple[Path, ...], output: Path, config: Path | None, seed: int, device: str) -> None:
    """Run molecular dynamics with the committee MODEL from every configuration in STARTS.

    STARTS are extended XYZ files, or folders that `generate` has written.

    Writes OUT/frames.extxyz, the kept frames with their predictions, and OUT/trajectories.json, why each one ended.

    \b
    Example: argonaut explore model starts.extxyz -o explored --seed 3
    """
    from .. import exploration
    from ..committee import Committee
    from ..exploration_settings import ExplorationSettings
    from ..frames import read_configurations
    from ..predictions import write_predicted
    from ..settings import load_settings
    from .progress import Progress

    settings = load_settings(ExplorationSettings, config)
    configurations = [each for path in starts for each in read_configurations(path)]
    committee = Committee.load(model, device=device)
    stop = exploration.stop_deviation(committee, configurations, settings)
    documents: list[dict[str, Any]] = []

    def frames(progress: Progress) -> Iterator[PredictedFrame]:
        for trajectory in exploration.explore(committee, configurations, settings, stop, seed, progress.update):
            documents.append(trajectory.to_document())
            yield from trajectory.frames

    output.mkdir(parents=True, exist_ok=True)
    with Progress("exploring", len(configurations)) as progress:
        write_predicted(output / "frames.extxyz", frames(progress))
    account = _account(documents, dataclasses.asdict(settings), stop, seed)
    (output / "trajectories.json").write_text(json.dumps(account, indent=2) + "\n")
    _summary(account)
    if not account["n_frames"]:
        click.echo("no frame was kept: every start is unphysical under these settings", err=True)
        raise SystemExit(1)


def _account(documents: list[dict[str, Any]], settings: dict[str, Any], stop: float, seed: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "seed": seed,
        "settings": settings,
        "stop_deviation": stop,
        "n_frames": sum(len(document["frames"]) for document in documents),
        "reasons": dict(Counter(document["reason"] for document in documents)),
        "trajectories": documents,
    }


def _summary(account: dict[str, Any]) -> None:
    trajectories = account["trajectories"]
    steps = sorted(document["steps"] for document in trajectories)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(account["reasons"].items()))
    click.echo(f"{len(trajectories)} trajectories ({reasons}), {account['n_frames']} frames kept")
    click.echo(f"steps: {sum(steps)} in all, median {steps[len(steps) // 2]}")
    click.echo(f"stop deviation {account['stop_deviation']:.4f} eV/Å")
