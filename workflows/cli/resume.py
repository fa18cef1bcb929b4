"""argonaut resume: go on with a campaign that has ended."""

from __future__ import annotations

import click

from .launch import FOLLOW
from .profile import check_ready, open_profile, profile_option, shell_lines, submitted


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Change a setting: stop.iterations=8.")
def resume(campaign: str, profile: str | None, assignments: tuple[str, ...]) -> None:
    """Go on with campaign PK, which was finished, killed, excepted, or stopped at a limit.

    A new campaign begins with dataset and committee of the last finished iteration; what was finished of the iteration
    after it comes from AiiDA's cache, and labels that the machine had lost are asked for again. `status` and `report`
    show all parts as one, whichever pk they are given. Changed settings are recorded.

    \b
    Example: argonaut resume 42 --set stop.iterations=8 --set budget.labels=500
    """
    name = open_profile(profile)
    from ...provenance_db.queries import load_campaign
    from ..resume import resume_builder

    builder = resume_builder(load_campaign(campaign), assignments)
    check_ready(name)
    resumption = builder.resumption.get_dict()
    for key, (old, new) in resumption["changes"].items():
        click.echo(f"{key}: {old} -> {new}")
    pk = submitted(builder, name)
    click.echo(f"campaign {pk} goes on. To follow it from a new shell:")
    for line in shell_lines(name, [command.format(pk=pk) for command in FOLLOW]):
        click.echo(f"  {line}")
