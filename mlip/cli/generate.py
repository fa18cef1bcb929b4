"""argonaut generate: randomised configurations from a recipe."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click

from .given import SEED, OutputPath, companion, writing

MOST_WORKERS = 1024
"""On this machine; more are a slip."""
MANY = 10_000
"""Configurations from which on all cores are used unless --workers says otherwise."""


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-n", "--number", type=click.IntRange(min=1), help="Configurations; may be left out if all have a count.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--start", type=click.IntRange(0, 2**53), default=0, show_default=True, help="Index of the first one.")
@click.option(
    "-o",
    "--output",
    type=OutputPath(path_type=Path),
    required=True,
    help="*.extxyz is one file, anything else a folder of shards.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    help=f"Processes on this machine; all cores from {MANY} configurations on.",
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Running dask.distributed scheduler whose workers do the work instead."
)
@click.option("--shard-size", type=click.IntRange(1, 100_000), help="Configurations per shard [default: 2500].")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON.")
def generate(
    recipe: Path,
    number: int | None,
    seed: int,
    start: int,
    output: Path,
    workers: int | None,
    scheduler: str | None,
    shard_size: int | None,
    as_json: bool,
) -> None:
    """Make randomised configurations from RECIPE (YAML).

    Configuration I of a recipe and seed is always the same, for any number of workers and any shards, so a set may be
    made in parts (--start) and continued: the same command completes a folder that was interrupted, and with a larger
    -n goes on with it. Configurations that could not be made are counted, for OUT.extxyz in OUT.losses.json, for a
    folder in its generated.json.

    \b
    Examples:
      argonaut generate examples/recipes/packing.yaml -n 36 --seed 7 -o starts.extxyz
      argonaut generate examples/recipes/mixed.yaml -n 1000000 -o million --workers 8
      argonaut generate examples/recipes/mixed.yaml -n 1000000 -o million --scheduler tcp://node1:8786
    """
    from ..generate.recipe import check_feasible, load_recipe
    from ..generate.shards import SHARD_SIZE, Order, write_file, write_folder
    from ..parallel import own_cores, results
    from .progress import Progress

    if workers is not None and scheduler is not None:
        raise click.UsageError("--workers and --scheduler: expected one of them")
    source = load_recipe(recipe)
    for problem in source.left_out:
        click.echo(f"left out: {problem}", err=True)
    if number is None and source.length is None:
        raise click.UsageError("-n: expected a number of configurations, for the recipe has no end")
    total = number or max((source.length or 0) - start, 1)
    if start == 0 and total < source.kept:
        raise click.UsageError(
            f"-n {total}: structures of your own are always kept, and the recipe has the last of them as number "
            f"{source.kept}; ask for as many or more"
        )
    check_feasible(source)
    order = Order(source, seed, start, total, shard_size or SHARD_SIZE)
    count = workers or (own_cores() if total >= MANY else 1)
    run = functools.partial(results, workers=count, scheduler=scheduler)
    one_file = output.suffix == ".extxyz"
    if output.exists() and output.is_file() != one_file:
        raise click.UsageError(f"-o {output}: expected a {'file' if one_file else 'folder, or a name in .extxyz'}")
    losses = companion(output, ".losses.json") if one_file else None
    with Progress("generating", total) as progress, writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        steps = write_file(order, output, run) if one_file else write_folder(order, output, run, scheduler is None)
        account = _follow(steps, progress)
        if losses is not None:
            losses.write_text(json.dumps(account, indent=2) + "\n")
    _tell(account, source.content_hash, seed, output, as_json)


def _follow(steps: Generator[int, None, dict[str, Any]], progress: Any) -> dict[str, Any]:
    """Run to the end, saying how many are done; what the steps return."""
    begin, first = time.monotonic(), None
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            account: dict[str, Any] = end.value
            return account
        first = done if first is None else first
        progress.update(done, f"{(done - first) / max(time.monotonic() - begin, 1e-3):,.0f}/s")


def _tell(account: dict[str, Any], recipe_hash: str, seed: int, output: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**account, "recipe_hash": recipe_hash, "seed": seed, "output": str(output)}))
    else:
        for loss in account["lost"][:10]:
            click.echo(f"lost: {loss['message']}", err=True)
        if len(account["lost"]) > 10:
            click.echo(f"lost: {len(account['lost']) - 10} more", err=True)
        click.echo(f"{account['made']} configurations of recipe {recipe_hash[:11]}, seed {seed}: {output}")
        click.echo(f"sha256 {account['sha256']}")
    if account["lost"]:
        raise SystemExit(1)
