"""argonaut repair: mend what a kill or a crash has left damaged."""

from __future__ import annotations

import click

from .profile import open_profile, profile_option


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
def repair(campaign: str, profile: str | None) -> None:
    """Mend what a kill, a crash or a full disk has left of campaign PK, and say what was done.

    Stops the daemon and starts it again. Processes without a task get one, children that nobody waits for are ended,
    and damaged calculations, which AiiDA calls finished, are barred from the cache with their clones. What is whole is
    left alone. A campaign that has ended goes on with `argonaut resume` afterwards.

    \b
    Example: argonaut repair 42
    """
    name = open_profile(profile)
    from ...provenance_db.queries import chain, load_campaign
    from ..daemon import Daemon
    from ..repair import repair as mend

    node = load_campaign(campaign)
    mended = mend(node, Daemon(name), lambda line: click.echo(f"  {line}"))
    click.echo(f"{mended} things mended" if mended else "nothing was damaged")
    newest = chain(node)[-1]
    if newest.is_terminated and not newest.is_finished_ok:
        click.echo(f"the campaign has ended; `argonaut resume {newest.pk}` goes on with it")
