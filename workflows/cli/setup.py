"""argonaut setup: everything a campaign needs on this computer."""

from __future__ import annotations

import click

from .. import setup as machinery


@click.command()
@click.option(
    "--profile", default=machinery.DEFAULT_PROFILE, show_default=True, help="AiiDA profile to make or repair."
)
@click.option("--pw", help="Path of pw.x, where it is not on PATH.")
def setup(profile: str, pw: str | None) -> None:
    """Make or repair what campaigns need: profile, computer, codes, pseudopotentials.

    The profile uses SQLite and AiiDA's ZeroMQ broker: no service has to run. What exists is kept; run it again at any
    time. Where pw.x is missing it is installed on a Debian-like machine as root; elsewhere the commands are named.

    \b
    Example: AIIDA_PATH=$PWD argonaut setup
    """
    machinery.setup(profile, pw, lambda line: click.echo(f"  {line}"))
    click.echo(f"profile {profile} is ready")
