"""argonaut audit: does everything in a campaign have a provenance?"""

from __future__ import annotations

import click

from .profile import open_profile, profile_option


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
def audit(campaign: str, profile: str | None) -> None:
    """Look for nodes in campaign PK, in all its parts, that come from nowhere; exit code 1 if there are any.

    \b
    Example: argonaut audit 42
    """
    open_profile(profile)
    from ...provenance_db.orphans import find_orphans
    from ...provenance_db.queries import chain, descendants, load_campaign

    parts = chain(load_campaign(campaign))
    orphans = [orphan for part in parts for orphan in find_orphans(part)]
    for orphan in orphans:
        click.echo(str(orphan))
    n_processes = sum(1 for part in parts for _ in descendants(part))
    click.echo(f"{n_processes} processes, {len(orphans)} nodes without provenance")
    if orphans:
        raise SystemExit(1)
