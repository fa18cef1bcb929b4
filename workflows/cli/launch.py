"""argonaut launch: from a campaign file to a running campaign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..setup import SetupError
from .profile import daemon_is_running, open_profile, profile_option, shell_lines, submitted

FOLLOW = [
    "verdi -p PROFILE process list -a",
    "verdi -p PROFILE process status {pk}",
    "verdi -p PROFILE process report {pk}",
    "argonaut status -p PROFILE {pk}",
    "argonaut follow -p PROFILE {pk}",
]
"""What follows a campaign, for a new shell."""


@click.command()
@click.argument("campaign", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@profile_option
@click.option(
    "--dry-run", is_flag=True, help="Submit nothing: tell jobs, core-hours, time and disk, with their sources."
)
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the same as one JSON document.")
def launch(campaign: Path, profile: str | None, dry_run: bool, as_json: bool) -> None:
    """Check CAMPAIGN (YAML) and hand it to the daemon; prints its pk and how to follow it.

    \b
    Example: argonaut launch campaign.yaml --dry-run
             argonaut launch campaign.yaml
    """
    from ..config import load_config

    if as_json and not dry_run:
        raise click.UsageError("--json belongs to --dry-run")
    load_config(campaign)
    name = open_profile(profile)
    if dry_run:
        tell_price(campaign, as_json)
        return
    pk = submit_campaign(campaign, name)
    click.echo(f"campaign {pk} is running. To follow it from a new shell:")
    for line in shell_lines(name, [command.format(pk=pk) for command in FOLLOW]):
        click.echo(f"  {line}")


def tell_price(campaign: Path, as_json: bool) -> None:
    """Print what a campaign would cost; stores and submits nothing."""
    from ..campaign import CampaignWorkChain
    from ..price import price
    from .price_table import print_price

    builder = CampaignWorkChain.get_builder_from_config(campaign)
    tell_left_out(builder)
    found = price(builder)
    if as_json:
        click.echo(json.dumps({"campaign": str(campaign), **found}, indent=2))
    else:
        print_price(campaign.name, found)


def unfinished_campaign(campaign: Path) -> int | None:
    """pk of a campaign with the same settings and seed that has not ended, if there is one."""
    from aiida import orm

    from ..campaign import CampaignWorkChain

    builder: Any = CampaignWorkChain.get_builder_from_config(campaign)
    for node in orm.QueryBuilder().append(CampaignWorkChain).all(flat=True):
        same = node.inputs.settings.get_dict() == builder.settings.get_dict() and node.inputs.seed == builder.seed
        if same and not node.is_terminated:
            return int(node.pk)
    return None


def tell_left_out(builder: Any) -> None:
    """Name the files and frames of the recipe that were left out on request."""
    for problem in builder.settings.get_dict().get("left_out", ()):
        click.echo(f"left out: {problem}", err=True)


def submit_campaign(campaign: Path, profile: str) -> int:
    """Submit the campaign of a file and return its pk; SetupError if no daemon would take it."""
    from ..campaign import CampaignWorkChain

    builder = CampaignWorkChain.get_builder_from_config(campaign)
    tell_left_out(builder)
    if not daemon_is_running():
        raise SetupError(
            f"the daemon of profile {profile} is not running; start it with `verdi -p {profile} daemon start`"
        )
    return submitted(builder, profile)
