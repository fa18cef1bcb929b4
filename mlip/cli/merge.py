"""argonaut merge: members trained one by one become one committee."""

from __future__ import annotations

from pathlib import Path

import click

from .given import OUTPUT_FOLDER


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=OUTPUT_FOLDER, help="Model folder.")
def merge(models: tuple[Path, ...], output: Path) -> None:
    """Put the members of several model folders into one, numbered in the order given.

    They must share elements and baseline: members trained on one dataset. Seeds and architectures may differ.

    \b
    Example:
      argonaut merge member-0 member-1 member-2 member-3 -o committee
      argonaut merge teanet leignn -o committee
    """
    from ..model_files import merge_model_folders

    if output.resolve() in [model.resolve() for model in models]:
        raise click.UsageError(f"-o {output} is one of the models; write the committee elsewhere")
    merge_model_folders(models, output)
    click.echo(f"{output}: members of {len(models)} model folders")
