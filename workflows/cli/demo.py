"""argonaut demo: a real campaign from beginning to end, and what to do with its result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from .. import setup as machinery
from ..daemon import Daemon
from .profile import open_profile, shell_lines

WORKERS = 2
LOOK_DEEPER = [
    "verdi -p PROFILE process list -a",
    "verdi -p PROFILE process status {pk}",
    "verdi -p PROFILE process report {pk}",
    "verdi -p PROFILE process show {pk}",
    "argonaut status -p PROFILE {pk}",
    "argonaut audit -p PROFILE {pk}",
    "verdi -p PROFILE data argonaut.committee show {committee}",
    "verdi -p PROFILE daemon start   # for campaigns of your own: argonaut launch campaign.yaml",
]
USE = """\
from aiida_argonaut.mlip.calculator import CommitteeCalculator
atoms.calc = CommitteeCalculator("{model}")
print(atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.results["force_deviation"])"""
"""The three lines that load the committee; the demo runs them on a frame of its dataset."""


@click.command()
@click.argument("campaign", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"), show_default=True)
@click.option("--keep-daemon", is_flag=True, help="Leave the daemon running at the end.")
def demo(campaign: Path, folder: Path, keep_daemon: bool) -> None:
    """Run CAMPAIGN in an AiiDA profile of its own inside FOLDER and report what came of it.

    No profile of yours is touched, and no daemon is left running unless --keep-daemon is given.

    \b
    Example: argonaut demo examples/demo.yaml
    """
    from ..config import load_config

    load_config(campaign)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["AIIDA_PATH"] = str(folder.resolve())
    began = time.monotonic()
    click.echo(f"set-up in {folder}")
    machinery.setup(machinery.DEFAULT_PROFILE, None, lambda line: click.echo(f"  {line}"))
    profile = open_profile(machinery.DEFAULT_PROFILE)
    click.echo(f"set-up took {time.monotonic() - began:.0f} s")
    daemon = Daemon(profile)
    start_daemon(daemon)
    try:
        summary = run_campaign(campaign, profile)
        report(summary, folder, profile)
    finally:
        if keep_daemon:
            click.echo(f"the daemon goes on: `verdi -p {profile} daemon stop` ends it")
        else:
            daemon.stop()
    if summary["exit_status"] != 0:
        raise SystemExit(1)


def start_daemon(daemon: Daemon) -> None:
    """A fresh daemon: one that an interrupted demo left behind may hold older code."""
    daemon.stop()
    daemon.restore_tasks()  # what a kill cut off between database and broker
    daemon.start(WORKERS)
    click.echo(f"daemon with {WORKERS} workers is running")


def run_campaign(campaign: Path, profile: str) -> dict[str, Any]:
    """Submit the campaign, or find the one that an interrupted demo left unfinished, and watch it to its end."""
    from .follow import watch
    from .launch import FOLLOW, submit_campaign, unfinished_campaign

    unfinished = unfinished_campaign(campaign)
    pk = submit_campaign(campaign, profile) if unfinished is None else unfinished
    click.echo(f"campaign {pk} {'is running' if unfinished is None else 'goes on'}. To follow it from another shell:")
    for line in shell_lines(profile, [command.format(pk=pk) for command in FOLLOW]):
        click.echo(f"  {line}")
    return watch(pk, profile)


def report(summary: dict[str, Any], folder: Path, profile: str) -> None:
    """Table, page, plot, exported committee in use, and commands to look deeper."""
    from aiida import orm

    from ..report.gather import gather
    from ..report.page import write
    from .plot import draw
    from .tables import print_status

    print_status(summary)
    campaign: Any = orm.load_node(summary["pk"])
    page = folder / f"report-{campaign.pk}.html"
    write(gather(campaign), page)
    click.echo(f"\nall of it on one page, for a browser: {page}")
    if not campaign.is_finished_ok:
        click.echo(f"the campaign did not end well; `verdi -p {profile} process report {campaign.pk}` says why")
        return
    names = ("fresh-{}.png", "committee-{}", "dataset-{}")
    picture, model, data = (folder / name.format(campaign.pk) for name in names)
    draw(campaign, picture)
    committee = campaign.outputs.committee
    committee.export_to(model)
    campaign.outputs.dataset.export_to(data)
    click.echo(f"plot of predictions against fresh labels: {picture}")
    click.echo(f"the dataset: {data}\nthe final committee: {model}. In Python:\n")
    lines = USE.format(model=model.resolve())
    click.echo("\n".join(f"    {line}" for line in lines.splitlines()))
    click.echo("\nthe same on the first frame of the dataset:")
    try_committee(lines, data / "frames.extxyz")
    click.echo("\nto look deeper, in a new shell:")
    commands = [command.format(pk=campaign.pk, committee=committee.pk) for command in LOOK_DEEPER]
    for line in shell_lines(profile, commands):
        click.echo(f"  {line}")


def try_committee(lines: str, frames: Path) -> None:
    """Run the printed lines in a Python of their own, as a reader would."""
    program = f"from ase.io import read\natoms = read({str(frames)!r}, index=0)\n{lines}\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise machinery.SetupError(f"the committee cannot be used: {' '.join(done.stderr.split())[-400:]}")
    click.echo("\n".join(f"    {line}" for line in done.stdout.splitlines()))
