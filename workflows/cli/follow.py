"""argonaut follow: a live view of a campaign until it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .profile import open_profile, profile_option
from .watching import Pause

POLL_SECONDS = 3.0


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
def follow(campaign: str, profile: str | None) -> None:
    """Watch campaign PK until it ends; Ctrl-C stops watching, not the campaign.

    \b
    Example: argonaut follow 42
    """
    name = open_profile(profile)
    from ...provenance_db.queries import load_campaign
    from .tables import headline

    summary = watch(load_campaign(campaign).pk, name)
    click.echo(headline(summary))
    if summary["exit_status"] != 0:
        raise SystemExit(1)


def watch(pk: int, profile: str) -> dict[str, Any]:
    """Show the campaign until it ends and return its summary: live on a terminal, a line per change elsewhere.

    Workers that are cut off from their broker get a fresh start; SetupError where nothing can go on.
    """
    from aiida import orm

    from ...provenance_db.queries import campaign_summary

    def look() -> dict[str, Any]:
        return campaign_summary(orm.load_node(pk))

    pause = Pause(profile, POLL_SECONDS, f"then `argonaut follow -p {profile} {pk}` goes on")
    return (_watch_live if Console().is_terminal else _watch_lines)(look, pause)


def _watch_live(look: Callable[[], dict[str, Any]], pause: Pause) -> dict[str, Any]:
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
            pause()


def _watch_lines(look: Callable[[], dict[str, Any]], pause: Pause) -> dict[str, Any]:
    told = ""
    while True:
        summary = look()
        line = ", ".join(f"{what} {done}/{total}" for done, total, what in _progress(summary).values())
        if line != told:
            click.echo(f"[{summary['seconds']:5.0f} s] {line}")
            told = line
        if _ended(summary):
            return summary
        pause()


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
