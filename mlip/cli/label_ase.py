"""argonaut label-ase: labels from any ASE calculator."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

FORMAT = "argonaut-losses-1"


@click.command("label-ase")
@click.argument("structures", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write."
)
@click.option("--calculator", required=True, help="Import path of the class, module:Class.")
@click.option(
    "--parameters", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its arguments, YAML or JSON."
)
def label_ase(structures: Path, output: Path, calculator: str, parameters: Path | None) -> None:
    """Label every configuration in STRUCTURES (extended XYZ) with an ASE calculator.

    Writes OUT/labels.extxyz (unless all are lost) and OUT/losses.json, which names each configuration without a label
    and says why. With any loss the exit code is 1.

    \b
    Example: argonaut label-ase starts.extxyz -o labels --calculator ase.calculators.lj:LennardJones
    """
    from ..frames import LabelledFrame, read_configurations, write_frames
    from ..labelling import Loss, label_with_ase, protocol_hash_of, protocol_of
    from ..settings import read_mapping
    from .progress import Progress

    keywords = read_mapping(parameters) if parameters else {}
    configurations = read_configurations(structures)
    frames: list[LabelledFrame] = []
    losses: list[Loss] = []
    with Progress("labelling", len(configurations)) as progress:
        for result in label_with_ase(configurations, calculator, keywords):
            if isinstance(result, Loss):
                losses.append(result)
            else:
                frames.append(result)
            progress.update(len(frames) + len(losses))
    protocol = protocol_of(calculator, keywords)
    output.mkdir(parents=True, exist_ok=True)
    if frames:
        write_frames(output / "labels.extxyz", frames)
    document = {
        "format": FORMAT,
        "submitted": len(configurations),
        "ok": len(frames),
        "protocol": protocol,
        "protocol_hash": protocol_hash_of(protocol),
        "lost": [dataclasses.asdict(loss) for loss in losses],
    }
    (output / "losses.json").write_text(json.dumps(document, indent=2) + "\n")
    for loss in losses:
        click.echo(f"lost {loss.configuration_id} {loss.formula}: {loss.reason}: {loss.message}", err=True)
    click.echo(f"{len(frames)} of {len(configurations)} labelled: {output}")
    if losses:
        raise SystemExit(1)
