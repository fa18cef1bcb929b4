"""argonaut label-ase: labels from any ASE calculator."""

from __future__ import annotations

from pathlib import Path

import click

from .given import FRAMES, OUTPUT_FOLDER


@click.command("label-ase")
@click.argument("structures", type=FRAMES)
@click.option("-o", "--output", type=OUTPUT_FOLDER, required=True, help="Folder to write.")
@click.option("--calculator", required=True, help="Import path of the class, module:Class.")
@click.option(
    "--parameters", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its arguments, YAML or JSON."
)
def label_ase(structures: Path, output: Path, calculator: str, parameters: Path | None) -> None:
    """Label every configuration in STRUCTURES with an ASE calculator.

    STRUCTURES are extended XYZ, or a folder that `generate` has written.

    Writes OUT/labels.extxyz (unless all are lost) and OUT/losses.json, which names each configuration without a label
    and says why. With any loss the exit code is 1.

    \b
    Example: argonaut label-ase starts.extxyz -o labels --calculator ase.calculators.lj:LennardJones
    """
    from ..frames import read_configurations
    from ..labelling import label_with_ase, protocol_hash_of, protocol_of
    from ..settings import read_mapping
    from .label_output import write_labels

    keywords = read_mapping(parameters) if parameters else {}
    configurations = read_configurations(structures)
    results = label_with_ase(configurations, calculator, keywords)
    protocol = protocol_of(calculator, keywords)
    write_labels(output, configurations, results, protocol, protocol_hash_of(protocol))
