"""Limits of a campaign: what it may cost, and how much it may lose, against what the record says it has.

The record is asked, not a counter: a campaign that was killed and resumed has spent what all its parts have spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiida import orm

from ..provenance_db.queries import chain, labels_spent, seconds
from ..provenance_db.spending import core_seconds, jobs
from .reference_atoms import atoms_due


class Limit(NamedTuple):
    """A limit that is reached."""

    key: str
    """Of the section `budget`."""
    reason: str
    """What was allowed, and what is spent."""


def campaign_of(node: orm.ProcessNode) -> orm.ProcessNode | None:
    """The campaign that called this process, directly or not; None for one that stands alone."""
    while node.caller is not None:
        node = node.caller
    return node if node.process_label == "CampaignWorkChain" else None


def limit_of(node: orm.ProcessNode) -> str | None:
    """The limit that the campaign around a process has come to, in words."""
    campaign = campaign_of(node)
    limit = None if campaign is None else limit_reached(campaign)
    return None if limit is None else limit.reason


def limit_reached(campaign: orm.ProcessNode, budget: Mapping[str, Any] | None = None) -> Limit | None:
    """The first limit that a campaign has come to, with all that it continues; for labels see `too_many_labels`.

    :param budget: limits to compare with; None takes the campaign's own.
    """
    allowed = campaign.inputs.settings.get_dict().get("budget", {}) if budget is None else budget
    if all(allowed.get(key) is None for key in ("core_hours", "wall_hours", "lost_share")):
        return None
    parts = chain(campaign)
    if (hours := allowed["wall_hours"]) is not None and (spent := sum(map(seconds, parts)) / 3600) >= hours:
        return Limit("wall_hours", f"{spent:.2f} of {hours:g} hours have passed")
    if (hours := allowed["core_hours"]) is not None and (spent := core_seconds(jobs(parts)) / 3600) >= hours:
        return Limit("core_hours", f"{spent:.3f} of {hours:g} core-hours are spent")
    ended, lost = labels_spent(parts)
    share = allowed["lost_share"]
    if share is not None and ended >= allowed["lost_after"] and lost > share * ended:
        return Limit("lost_share", f"{lost} of {ended} labels are lost, more than a share of {share:g}")
    return None


def too_many_labels(
    campaign: orm.ProcessNode, settings: Mapping[str, Any], number: int, has_committee: bool, besides: int
) -> Limit | None:
    """The limit of labels, if the next iteration would ask for more of them than are left.

    :param number: of that iteration; labels of an earlier attempt at it are taken over, and count as part of it.
    :param settings: of the campaign, or those it shall go on with.
    :param besides: configurations to be labelled besides those generated or selected, isolated atoms aside.
    """
    allowed = settings["budget"]["labels"]
    if allowed is None:
        return None
    chosen = settings["select"]["count"] if has_committee else settings["generate"]["seed_set"]
    wanted = chosen + besides + len(atoms_due(settings, number))
    left = max(0, allowed - labels_spent(chain(campaign), but=number)[0])
    if wanted <= left:
        return None
    return Limit("labels", f"{left} of {allowed} labels are left, and the next iteration would ask for {wanted}")
