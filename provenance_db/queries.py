"""The story of a campaign as one document, read from the record alone: works while it runs and years after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType

from .accounts import account_summary
from .called import children, newest_attempts

NOT_SUBMITTED = "not_submitted"
"""Reason of a label that was never begun, because the campaign came to a limit first."""
LARGEST_PK = 2**31
"""Databases refuse to look for larger ones."""
GIVEN_UP = "argonaut_given_up"
"""Extra of a work chain that may try again: pks of failed attempts that no other one will follow."""
STAGES = ("generate", "explore", "select", "label", "train", "evaluate")
"""Children of an iteration, by their call link labels, in order."""


class NotACampaign(ValueError):
    """An identifier that names no campaign: says what it names."""


def load_campaign(identifier: str | int) -> Any:
    """The campaign with this pk or uuid; NotACampaign says what else it is."""
    try:
        if str(identifier).isdigit() and int(identifier) >= LARGEST_PK:
            raise NotExistent(str(identifier))
        node = orm.load_node(int(identifier) if str(identifier).isdigit() else str(identifier))
    except (NotExistent, ValueError) as error:
        raise NotACampaign(
            f"{identifier}: no such node in this profile; `verdi process list -a` shows what there is"
        ) from error
    if getattr(node, "process_label", None) != "CampaignWorkChain":
        what = getattr(node, "process_label", None) or type(node).__name__
        raise NotACampaign(f"{identifier} is a {what}, expected the pk or uuid of a CampaignWorkChain")
    return node


def campaign_summary(campaign: orm.WorkChainNode) -> dict[str, Any]:
    """The newest part of a campaign and, per iteration of all its parts, labels, errors, verdicts and times."""
    parts = chain(campaign)
    newest = parts[-1]
    settings = newest.inputs.settings.get_dict()
    return {
        "pk": newest.pk,
        "uuid": newest.uuid,
        "label": newest.label,
        **state(newest),
        "seed": newest.inputs.seed.value,
        "iterations_planned": settings["stop"]["iterations"] + 1,
        "budget": settings.get("budget", {}),
        "seconds": round(sum(seconds(part) for part in parts), 1),
        "parts": [part_summary(part) for part in parts],
        "iterations": [
            {"part": part.pk, "number": number, **iteration_summary(node)}
            for part in parts
            for number, node in own_iterations(part).items()
        ],
        "outputs": {link.link_label: link.node.uuid for link in _returned(newest)},
    }


def part_summary(part: orm.WorkChainNode) -> dict[str, Any]:
    """One of the campaigns that continue each other: how it ended, and what was changed when it began."""
    resumption = part.inputs.resumption.get_dict() if "resumption" in part.inputs else {}
    changes = resumption.get("changes", {})
    return {"pk": part.pk, "uuid": part.uuid, **state(part), "seconds": seconds(part), "changes": changes}


def chain(campaign: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """The campaigns that continue each other, from the first to the newest, whichever of them is given.

    A resumed campaign has the uuid of the one it continues in its input `resumption`. Of two that continue the same one
    (they were resumed at the same moment) the older counts.
    """
    parts = [campaign]
    while "resumption" in parts[0].inputs:
        parts.insert(0, orm.load_node(parts[0].inputs.resumption["campaign"]))
    while (continued := continuation(parts[-1])) is not None:
        parts.append(continued)
    return parts


def continuation(campaign: orm.WorkChainNode) -> orm.WorkChainNode | None:
    """The campaign that was resumed from this one, if there is one."""
    query = orm.QueryBuilder().append(orm.Dict, filters={"attributes.campaign": campaign.uuid}, tag="resumption")
    query.append(
        orm.WorkChainNode, with_incoming="resumption", edge_filters={"label": "resumption"}, project="*", tag="resumed"
    ).order_by({"resumed": "id"})
    found = query.first(flat=True)
    return found if isinstance(found, orm.WorkChainNode) else None


def iterations(campaign: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """The iterations of a campaign and of those that it continues or is continued by, in order."""
    return [node for part in chain(campaign) for node in own_iterations(part).values()]


def own_iterations(campaign: orm.WorkChainNode) -> dict[int, orm.WorkChainNode]:
    """The iterations that this one campaign called, by number (the seed iteration is 0), in order."""
    called = {
        int(label.removeprefix("iteration_")): node
        for label, node in children(campaign).items()
        if label.startswith("iteration_")
    }
    return dict(sorted(called.items()))


def iteration_summary(node: orm.WorkChainNode) -> dict[str, Any]:
    """One iteration: what was labelled and lost, how good the committee was, what exploration met, how long it took."""
    called, outputs = stages(node), {link.link_label: link.node for link in _returned(node)}
    summary: dict[str, Any] = {
        "pk": node.pk,
        **state(node),
        "stage": current_stage(node, called),
        "labels": label_summary(called.get("label")),
        "seconds": {"total": seconds(node), **{stage: seconds(called[stage]) for stage in STAGES if stage in called}},
    }
    if "dataset" in outputs:
        summary["dataset"] = {
            "pk": outputs["dataset"].pk,
            "n_frames": outputs["dataset"].base.attributes.get("n_frames"),
            "content_hash": outputs["dataset"].base.attributes.get("content_hash"),
        }
    if "committee" in outputs:
        summary["committee"] = {
            "pk": outputs["committee"].pk,
            "n_members": outputs["committee"].base.attributes.get("n_members"),
        }
    if (given := references([node])) is not None:
        summary["reference"] = given.label or "pseudopotential headers"
    if "train" in called:
        summary["members_trained"] = member_summary(called["train"])
    if "errors" in outputs:
        summary["errors"] = outputs["errors"].get_dict()
    if "generate" in called and "losses" in called["generate"].outputs:
        summary["generated"] = {key: called["generate"].outputs.losses[key] for key in ("asked", "made")}
    if "explore" in called and "trajectories" in called["explore"].outputs:
        summary["stop_reasons"] = called["explore"].outputs.trajectories.get_dict().get("reasons", {})
    if "select" in called and "selection" in called["select"].outputs:
        selection = called["select"].outputs.selection.get_dict()
        summary["selection"] = {key: selection[key] for key in ("counts", "thresholds", "arms") if key in selection}
    return summary


def references(nodes: Iterable[orm.WorkChainNode]) -> orm.Dict | None:
    """Energies of atoms that the training of the newest of these iterations was given, its label saying what they are.

    None where they were fitted, or no iteration has come to its training.
    """
    given = [child for node in nodes if (child := stages(node).get("train")) is not None]
    energies = given[-1].inputs.reference_energies if given and "reference_energies" in given[-1].inputs else None
    return energies if isinstance(energies, orm.Dict) else None


def label_summary(label: orm.ProcessNode | None) -> dict[str, Any] | None:
    """Labels asked for, good at once, rescued and lost with reasons, or ended; None before labelling has begun."""
    if label is None:
        return None
    asked = label.inputs.configurations.base.attributes.get("n_frames")
    if "losses" in label.outputs:
        return account_summary(label.outputs.losses.get_dict())
    counts = label_counts(label)
    return {"submitted": asked, "ended": counts.ended, "in_flight": counts.in_flight}


def labels_spent(parts: Iterable[orm.WorkChainNode], but: int | None = None) -> tuple[int, int]:
    """(ended, lost) labels of campaigns that continue each other; those of iteration `but` do not count.

    An iteration that was begun again counts once, as far as it came at its best: what the earlier attempt labelled the
    later one has taken over.
    """
    ended: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    for part in parts:
        for number, iteration in own_iterations(part).items():
            label = stages(iteration).get("label")
            if label is not None and number != but:
                counts = label_counts(label)
                ended[number] = max(ended[number], counts.ended)
                lost[number] = max(lost[number], counts.lost)
    return ended.total(), lost.total()


class LabelCounts(NamedTuple):
    """How the labels of a LabelWorkChain stand; those that are not in flight and have not ended were never begun."""

    ended: int
    lost: int
    """Of those that have ended."""
    in_flight: int


def label_counts(label: orm.ProcessNode) -> LabelCounts:
    """Counts by the account of losses, or before there is one by the newest attempt in the newest attempt of a shard.

    A shard that is one calculation tells nothing before its end: all its labels are in flight until then. A failed
    attempt is in flight, too, until its work chain has given it up or has ended itself: another may follow it.
    """
    if "losses" in label.outputs:
        return _accounted(label.outputs.losses)
    counted: Counter[str] = Counter()
    for shard in newest_attempts(label, "shard").values():
        if "losses" in shard.outputs:
            counted.update(_accounted(shard.outputs.losses)._asdict())
        elif isinstance(shard, orm.CalculationNode):
            n_frames = shard.inputs.configurations.base.attributes.get("n_frames")
            counted["ended" if shard.is_terminated else "in_flight"] += n_frames
        else:
            counted.update(_attempted(shard)._asdict())
    return LabelCounts(counted["ended"], counted["lost"], counted["in_flight"])


def _attempted(shard: orm.ProcessNode) -> LabelCounts:
    """Counts of a shard that has left no account."""
    attempts = newest_attempts(shard, "label").values()
    given_up = {int(pk) for pk in shard.base.extras.get(GIVEN_UP, [])}
    open_ones = [
        node for node in attempts
        if not node.is_terminated
        or not (node.is_finished_ok or shard.is_terminated or node.pk in given_up)
    ]  # fmt: skip
    lost = sum(node.is_terminated and not node.is_finished_ok and node not in open_ones for node in attempts)
    return LabelCounts(len(attempts) - len(open_ones), lost, len(open_ones))


def _accounted(losses: orm.Dict) -> LabelCounts:
    never = sum(loss["reason"] == NOT_SUBMITTED for loss in losses["lost"])
    return LabelCounts(losses["submitted"] - never, len(losses["lost"]) - never, 0)


def member_summary(train: orm.WorkChainNode) -> dict[str, int]:
    """Members by how their last attempt stands: ok, lost, running, waiting."""
    newest = newest_attempts(train, "member")
    counted = Counter("ok" if n.is_finished_ok else "lost" if n.is_terminated else "running" for n in newest.values())
    return {**counted, "waiting": len(train.inputs.members) - len(newest)}


def current_stage(node: orm.WorkChainNode, called: dict[str, orm.ProcessNode]) -> str:
    """The stage that an iteration is at, or 'done'."""
    if node.is_terminated:
        return "done"
    started = [stage for stage in STAGES if stage in called]
    return started[-1] if started else "plan"


def stages(iteration: orm.ProcessNode) -> dict[str, Any]:
    """The stages of an iteration that have begun, each by its newest attempt."""
    newest = {stage: newest_attempts(iteration, stage).get(stage) for stage in STAGES}
    return {stage: node for stage, node in newest.items() if node is not None}


def state(node: orm.ProcessNode) -> dict[str, Any]:
    """Process state, exit status and message."""
    return {
        "state": node.process_state.value if node.process_state else "created",
        "exit_status": node.exit_status,
        "exit_message": node.exit_message,
    }


def seconds(node: orm.ProcessNode) -> float:
    """Wall time from creation to the last change (the end, unless an extra was set later), or to now while it runs."""
    end = node.mtime if node.is_terminated else datetime.now(UTC)
    return round((end - node.ctime).total_seconds(), 1)


def descendants(node: orm.ProcessNode) -> Iterable[orm.ProcessNode]:
    """A process and all that it called, directly or not."""
    yield node
    for child in node.called:
        yield from descendants(child)


def _returned(node: orm.ProcessNode) -> list[Any]:
    return list(node.base.links.get_outgoing(link_type=(LinkType.RETURN, LinkType.CREATE)).all())
