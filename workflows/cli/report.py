"""argonaut report: all of a campaign on one page for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from ...mlip.cli.given import OUTPUT_FILE
from .profile import open_profile, profile_option


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
@click.option("-o", "--output", type=OUTPUT_FILE, default=Path("report.html"), show_default=True, help="*.html")
def report(campaign: str, profile: str | None, output: Path) -> None:
    """Write all that the record holds of campaign PK as one HTML page, at any moment of its life.

    The page needs no network and no other file. It has learning curves, parity, deviation against error, losses, what
    was labelled, times and cost, and per iteration what was decided and why.

    \b
    Example: argonaut report 42 -o report.html
    """
    open_profile(profile)
    from ...provenance_db.queries import load_campaign
    from ..report.gather import gather
    from ..report.page import write

    story = gather(load_campaign(campaign))
    output.parent.mkdir(parents=True, exist_ok=True)
    write(story, output)
    click.echo(str(output))
