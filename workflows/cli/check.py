"""argonaut check: each stage of a campaign once, on one small structure, before hours are spent."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import click

from .profile import daemon_is_running, open_profile, profile_option


@click.command()
@click.argument("campaign", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@profile_option
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON document.")
def check(campaign: Path, profile: str | None, as_json: bool) -> None:
    """Try the stages of CAMPAIGN (YAML) with its own codes, computers and options: a minute, instead of hours.

    Generates eight configurations, labels the smallest, trains two members for one step, moves it ten steps, selects
    and evaluates. Runs without a daemon. Exit code 1 if a stage failed.

    \b
    Example: argonaut check campaign.yaml
    """
    from ..config import load_config

    load_config(campaign)
    open_profile(profile)
    from ..campaign import CampaignWorkChain
    from ..check import FAILED, Check, Verdict

    trial = Check(CampaignWorkChain.get_builder_from_config(campaign), campaign.name, daemon_is_running)
    for handler in logging.getLogger("aiida").handlers:
        if isinstance(handler, logging.StreamHandler):  # the record keeps it, and the verdict says it in one line
            handler.setLevel(logging.CRITICAL + 1)
    found: list[Verdict] = []
    for verdict in trial.verdicts():
        found.append(verdict)
        if not as_json:
            click.echo(told(verdict))
    failed = [verdict.stage for verdict in found if verdict.status == FAILED]
    if as_json:
        stages = [dataclasses.asdict(verdict) for verdict in found]
        click.echo(json.dumps({"campaign": str(campaign), "ok": not failed, "stages": stages}, indent=2))
    elif not failed:
        click.echo(f"{campaign.name} can be launched: `argonaut launch {campaign}`")
    else:
        click.echo(f"{campaign.name} would fail in: {', '.join(failed)}")
    if failed:
        raise SystemExit(1)


def told(verdict: object) -> str:
    """One line per stage, and one of advice where it failed."""
    fields = vars(verdict)
    where = f" <{fields['pk']}>" if fields["pk"] else ""
    line = f"{fields['stage']:<9} {fields['status']:<9} {fields['seconds']:6.1f} s  {fields['message']}{where}"
    return f"{line}\n{'':<29}{fields['advice']}" if fields["advice"] else line
