"""argonaut learning-curve: how a training went, as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from .given import OUTPUT_FILE, writing


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=OUTPUT_FILE, help="PNG file. [default: learning_curve.png beside the metrics]")
def learning_curve(model: Path, output: Path | None) -> None:
    """Losses, errors, learning rate and energy weight of all members, against steps and seconds.

    MODEL is a model folder, or a metrics.jsonl, also of a training that is still going on.

    \b
    Example:
      argonaut learning-curve model -o curve.png
    """
    from ..learning_curve import plot_learning_curve

    metrics = model / "metrics.jsonl" if model.is_dir() else model
    picture = output or metrics.with_name("learning_curve.png")
    with writing(picture):
        plot_learning_curve(metrics, picture)
    click.echo(str(picture))
