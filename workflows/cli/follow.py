"""argonaut follow: a live view of a campaign until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..setup import SetupError
from .profile import daemon_is_running, open_profile, profile_option, workers_are_cut_off

POLL_SECONDS = 3.0
CUT_OFF_SECONDS = 60.0
"""Longer than workers take to start and the broker to write its status."""


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
def follow(campaign: str, profile: str | None) -> None:
    """Watch campaign PK until it ends; Ctrl-C stops watching, not the campaign.

    \b
    Example: argonaut follow 42
    """
    open_profile(profile)
    from ...provenance_db.queries import load_campaign
    from .tables import headline

    summary = watch(load_campaign(campaign).pk)
    click.echo(headline(summary))
    if summary["exit_status"] != 0:
        raise SystemExit(1)


def watch(pk: int) -> dict[str, Any]:
    """Show the campaign until it ends and return its summary: live on a terminal, a line per change elsewhere."""
    from aiida import orm

    from ...provenance_db.queries import campaign_summary

    def look() -> dict[str, Any]:
        return campaign_summary(orm.load_node(pk))

    return _watch_live(pk, look) if Console().is_terminal else _watch_lines(pk, look)


def _watch_live(pk: int, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from .tables import status_view

    bars = Progress(TextColumn("{task.description:24}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    tasks = {name: bars.add_task(name, total=1) for name in ("iterations", "stage")}
    with Live(refresh_per_second=4, transient=True) as live:
        while True:
            summary = look()
            for name, (done, total, what) in _progress(summary).items():
                bars.update(tasks[name], completed=done, total=total, description=what)
            live.update(Group(status_view(summary), bars))
            if _ended(summary):
                return summary
            _pause(pk)


def _watch_lines(pk: int, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    told = ""
    while True:
        summary = look()
        line = ", ".join(f"{what} {done}/{total}" for done, total, what in _progress(summary).values())
        if line != told:
            click.echo(f"[{summary['seconds']:5.0f} s] {line}")
            told = line
        if _ended(summary):
            return summary
        _pause(pk)


def _progress(summary: dict[str, Any]) -> dict[str, tuple[int, int, str]]:
    """(done, total, what) of the campaign's iterations and of the stage that is at work."""
    iterations = summary["iterations"]
    done = len({iteration["number"] for iteration in iterations if iteration["exit_status"] == 0})
    progress = {"iterations": (done, summary["iterations_planned"], "iterations")}
    current = iterations[-1] if iterations else None
    if current is None or current["stage"] == "done":
        return progress
    number = current["number"]
    what = f"{'seed set' if number == 0 else f'iteration {number}'}: {current['stage']}"
    labels, members = current["labels"], current.get("members_trained")
    if current["stage"] == "label" and labels:
        progress["stage"] = (labels.get("ended", labels["submitted"]), labels["submitted"], what)
    elif current["stage"] == "train" and members:
        progress["stage"] = (members.get("ok", 0), sum(members.values()), what)
    else:
        progress["stage"] = (0, 1, what)
    return progress


def _ended(summary: dict[str, Any]) -> bool:
    return summary["state"] in ("finished", "killed", "excepted")


def _pause(pk: int) -> None:
    """Wait for the next look; SetupError where nothing can go on until a person acts."""
    if not daemon_is_running():
        raise SetupError(f"the daemon has stopped, so nothing goes on; start it with `{_verdi()} daemon start`")
    time.sleep(POLL_SECONDS)
    if workers_are_cut_off():
        time.sleep(CUT_OFF_SECONDS)
        if workers_are_cut_off():
            raise SetupError(
                "the daemon's workers listen to a broker that was killed, so nothing goes on; "
                f"`argonaut repair {pk}` connects them again, and nothing is lost"
            )


def _verdi() -> str:
    from aiida.manage import get_manager

    profile = get_manager().get_profile()
    return "verdi" if profile is None else f"verdi -p {profile.name}"
