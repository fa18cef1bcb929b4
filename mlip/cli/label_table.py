"""argonaut label-table: labels looked up in a file of labelled frames."""

from __future__ import annotations

from pathlib import Path

import click

from .given import FRAMES, OUTPUT_FOLDER


@click.command("label-table")
@click.argument("structures", type=FRAMES)
@click.argument("table", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=OUTPUT_FOLDER, required=True, help="Folder to write.")
def label_table(structures: Path, table: Path, output: Path) -> None:
    """Look every configuration in STRUCTURES up in TABLE, a dataset folder or labelled extended XYZ.

    STRUCTURES are extended XYZ, or a folder that `generate` has written.

    The same atoms in the same order and the same cell are found, even where they were wrapped or printed with four
    decimals. Writes OUT/labels.extxyz (unless all are lost) and OUT/losses.json, which names each configuration without
    a label and says why. With any loss the exit code is 1.

    \b
    Example: argonaut label-table starts.extxyz labelled.extxyz -o labels
    """
    from ..frames import read_configurations
    from ..table import label_from_table, load_table
    from .label_output import write_labels

    entries = load_table(table)
    configurations = read_configurations(structures)
    results = label_from_table(configurations, entries)
    write_labels(output, configurations, results, entries.protocol, entries.protocol_hash)
