"""argonaut status: where a campaign stands, per iteration."""

from __future__ import annotations

import json

import click

from .profile import open_profile, profile_option


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
@click.option("--labels", is_flag=True, help="Labels by source and by element too.")
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON document.")
def status(campaign: str, profile: str | None, labels: bool, as_json: bool) -> None:
    """Labels, losses with reasons, dataset, errors on fresh labels, verdicts and times of campaign PK.

    Labels add up: submitted = ok (good at once) + rescued (good after a remedy) + lost.

    A campaign that was resumed is shown as one with all its parts, whichever pk of them is given. Exit code 1 if the
    campaign has ended without success.

    \b
    Example: argonaut status 42
    """
    open_profile(profile)
    from ...provenance_db.queries import campaign_summary, chain, load_campaign
    from ...provenance_db.spending import spent
    from .tables import print_status

    node = load_campaign(campaign)
    summary = {**campaign_summary(node), "spent": spent(chain(node))}
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        print_status(summary, labels)
    if summary["exit_status"] or summary["state"] in ("killed", "excepted"):
        raise SystemExit(1)
