"""From the record to a `Story`: the only file of the report that knows AiiDA. Nothing is asked of a running daemon."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiida import orm
from ase.data import atomic_numbers

from ...mlip.frames import LabelledFrame
from ...mlip.fresh import by_id
from ...provenance_db.called import children
from ...provenance_db.queries import STAGES, campaign_summary, chain, iterations, references, stages
from ...provenance_db.spending import jobs, spent
from .story import Fresh, Said, Story

ATTEMPT = re.compile(rf"({'|'.join(('shard', 'member', *STAGES))})(?:_\d+)?_attempt_\d+")
TOLD_BY = ("label", "train")
"""Children of an iteration whose words are part of the story, beside those of the iteration and the campaign."""


def gather(campaign: orm.WorkChainNode) -> Story:
    """All that the record holds of a campaign and of those it continues, at any moment of their lives."""
    parts, nodes = chain(campaign), iterations(campaign)
    summary = {**campaign_summary(campaign), "spent": spent(parts)}
    called = {int(node.pk or 0): {**children(node), **stages(node)} for node in nodes}
    labels = {pk: _labels(own) for pk, own in called.items()}
    family = {
        int(called[pk][name].pk): pk for pk in called for name in TOLD_BY if name in called[pk]
    } | {pk: pk for pk in called}  # fmt: skip
    profile = campaign.backend.profile
    return Story(
        summary=summary,
        settings=parts[-1].inputs.settings.get_dict(),
        moment=datetime.now(UTC),
        began=parts[0].ctime,
        frames=_frames(nodes, labels),
        fresh=[
            one
            for node, told in zip(nodes, summary["iterations"], strict=False)
            for one in _fresh(node, called[int(node.pk or 0)], labels[int(node.pk or 0)], told)
        ],
        references=_references(nodes),
        jobs=jobs(parts),
        said=_said([*(int(part.pk or 0) for part in parts), *family]),
        family=family,
        repeated=_repeated(called),
        explored={pk: _explored(own) for pk, own in called.items()},
        provenance=_provenance(parts, nodes, summary),
        profile=profile.name,
    )


def _frames(nodes: Sequence[Any], labels: dict[int, tuple[LabelledFrame, ...]]) -> list[LabelledFrame]:
    """Every labelled frame once: what a campaign started from, then the labels of each iteration."""
    found: dict[str, LabelledFrame] = {}
    if nodes and "previous" in nodes[0].inputs and "dataset" in nodes[0].inputs.previous:
        found |= {frame.label_id: frame for frame in nodes[0].inputs.previous.dataset.dataset().frames}
    for node in nodes:
        for frame in labels[node.pk]:
            found.setdefault(frame.label_id, frame)
    return list(found.values())


def _labels(own: dict[str, Any]) -> tuple[LabelledFrame, ...]:
    """The labels that an iteration has, whether or not it came to its end."""
    label = own.get("label")
    return label.outputs.labels.dataset().frames if label is not None and "labels" in label.outputs else ()


def _fresh(node: Any, own: dict[str, Any], labels: tuple[LabelledFrame, ...], told: dict[str, Any]) -> Iterable[Fresh]:
    """One `Fresh`, or none where nothing was predicted or labelled."""
    if not labels or "previous" not in node.inputs or "committee" not in node.inputs.previous:
        return
    predicted = own["label"].inputs.configurations.predicted_frames()
    predictions = by_id(predicted)
    known = tuple(label for label in labels if label.configuration.configuration_id in predictions)
    if known:
        arms = {frame.configuration.configuration_id: str(frame.info.get("arm", "")) for frame in predicted}
        number = int(told.get("number", 0))
        previous = node.inputs.previous
        trained_on = previous.dataset.n_frames if "dataset" in previous else 0
        yield Fresh(number, trained_on, known, predictions, arms)


def _references(nodes: Sequence[Any]) -> dict[int, float] | None:
    """What the newest training was given."""
    found = references(nodes)
    return None if found is None else {atomic_numbers[name]: value for name, value in found.get_dict().items()}


def _said(pks: list[int]) -> list[Said]:
    """What these processes reported, in the order of time."""
    query = orm.QueryBuilder().append(orm.Log, filters={"dbnode_id": {"in": pks}}, tag="log")
    query.add_projection("log", ["time", "levelname", "dbnode_id", "message"])
    query.order_by({"log": ["time", "id"]})
    prefix = re.compile(r"^\[\d+\|\w+\|\w+\]: ")
    return [Said(time, level, pk, prefix.sub("", message)) for time, level, pk, message in query.all()]


def _repeated(called: dict[int, dict[str, Any]]) -> dict[int, dict[str, int]]:
    """Attempts beyond the first, by what was tried, per iteration: read from the labels of the calls."""
    owner = {int(own[name].pk): pk for pk, own in called.items() for name in TOLD_BY if name in own}
    counted: dict[int, Counter[str]] = {pk: Counter() for pk in called}
    while owner:
        query = orm.QueryBuilder()
        query.append(orm.ProcessNode, filters={"id": {"in": list(owner)}}, project=["id"], tag="caller")
        query.append(
            orm.ProcessNode, with_incoming="caller", project=["id", "attributes.process_label"], edge_project=["label"],
            edge_filters={"type": {"in": ["call_calc", "call_work"]}},
        )  # fmt: skip
        below: dict[int, int] = {}
        for caller, pk, kind, link in query.all():
            if match := ATTEMPT.fullmatch(link):
                counted[owner[caller]][match[1]] += 1
            if kind == "LabelPwWorkChain":
                below[pk] = owner[caller]
        owner = below
    return {pk: dict(counts) for pk, counts in counted.items()}


def _explored(own: dict[str, Any]) -> dict[str, Any]:
    """Figures of exploration and selection that the summary leaves out."""
    told: dict[str, Any] = {}
    explore, select = own.get("explore"), own.get("select")
    if explore is not None and "trajectories" in explore.outputs:
        document = explore.outputs.trajectories.get_dict()
        told["stop_deviation"], told["pool"] = document.get("stop_deviation"), document.get("n_frames")
        told["fs"] = sum(each.get("time_fs", 0.0) for each in document.get("trajectories", []))
    if select is not None and "selection" in select.outputs:
        document = select.outputs.selection.get_dict()
        told |= {key: document.get(key) for key in ("asked", "reached", "filled_below_trust_level")}
    return told


def _provenance(parts: Sequence[Any], nodes: Sequence[Any], summary: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, value): uuids, hashes and versions that name exactly what was made, and by what."""
    settings = parts[-1].inputs.settings
    rows = [(f"campaign {part.pk}", part.uuid) for part in parts]
    rows += [("settings", settings.uuid), ("seed", str(parts[-1].inputs.seed.value))]
    for name in ("dataset", "committee"):
        node = next((each.outputs[name] for each in (parts[-1], *reversed(nodes)) if name in each.outputs), None)
        if node is not None:
            rows.append((f"{name} {node.pk}", node.uuid))
            if content := node.base.attributes.get("content_hash", ""):
                rows.append((f"{name}: content hash", content))
    rows.append(("protocol hash", str(settings.get_dict().get("label", {}).get("protocol_hash", ""))))
    versions = parts[-1].base.attributes.get("version", {})
    rows += [("aiida-core", str(versions.get("core", "")))]
    rows += [(name, str(value)) for name, value in settings.get_dict().get("numerics", {}).items()]
    if "codes" in parts[-1].inputs:
        codes = {code.uuid: code.full_label for code in parts[-1].inputs.codes.values()}
        rows += [(f"code {label}", uuid) for uuid, label in codes.items()]
    return [(what, value) for what, value in rows if value]
