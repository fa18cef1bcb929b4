"""argonaut generate: randomised configurations from a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import click

from .given import OUTPUT_FILE, SEED


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-n", "--number", type=click.IntRange(min=1), required=True, help="Configurations to make.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the first one.")
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="File to write, *.extxyz.")
def generate(recipe: Path, number: int, seed: int, start: int, output: Path) -> None:
    """Make randomised configurations from RECIPE (YAML).

    Configuration I of a recipe and seed is always the same, so a set may be made in parts (--start) and continued.
    Configurations that could not be made are listed in a file beside the output, for OUT.extxyz in OUT.losses.json.

    \b
    Example: argonaut generate examples/recipes/packing.yaml -n 36 --seed 7 -o starts.extxyz
    """
    from ..frames import write_atoms
    from ..generate.packing import PackingError
    from ..generate.recipe import generate as make
    from ..generate.recipe import load_recipe
    from .progress import Progress

    if output.suffix != ".extxyz":
        raise click.UsageError(f"-o {output}: expected a name that ends in .extxyz")
    source = load_recipe(recipe)
    losses: list[dict[str, Any]] = []

    def made(progress: Progress) -> Iterator[ase.Atoms]:
        for done, index in enumerate(range(start, start + number), start=1):
            try:
                yield make(source, seed, index).to_atoms()
            except PackingError as error:
                losses.append({"index": index, "message": str(error)})
            progress.update(done)

    output.parent.mkdir(parents=True, exist_ok=True)
    with Progress("generating", number) as progress:
        write_atoms(output, made(progress))
    account = {"asked": number, "made": number - len(losses), "lost": losses}
    output.with_suffix(".losses.json").write_text(json.dumps(account, indent=2) + "\n")
    for loss in losses:
        click.echo(f"lost: {loss['message']}", err=True)
    click.echo(f"{number - len(losses)} configurations of recipe {source.content_hash[:11]}, seed {seed}: {output}")
    if losses:
        raise SystemExit(1)
