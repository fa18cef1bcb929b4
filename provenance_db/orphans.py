"""The provenance rule: nothing in a campaign comes from nowhere.

A node without a creator is allowed only as (a) an input of the campaign itself, or (b) a setting of a DFT job that is
the protocol's, or the protocol's with a change that the job's work chain has recorded. Structures, labels, datasets,
models, selections, thresholds and seeds are never allowed. What a work chain returns obeys (a) like what it is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from .queries import descendants

DFT_PROCESSES = ("PwBaseWorkChain", "RescuePwWorkChain", "PwCalculation")
SETTING_TYPES = (orm.Dict, orm.Bool, orm.Float, orm.Str)
RESTART_KEYS = frozenset({("CONTROL", "restart_mode"), ("CONTROL", "max_seconds")})
"""Parameters that PwBaseWorkChain sets on every job: how and how long it runs, not what it computes."""
HANDLED_KEYS = frozenset(
    {("SYSTEM", "nbnd"), ("SYSTEM", "starting_magnetization"), ("ELECTRONS", "mixing_beta"),
     ("ELECTRONS", "mixing_mode"), ("ELECTRONS", "mixing_ndim"), ("ELECTRONS", "diagonalization"),
     ("ELECTRONS", "startingwfc"), ("ELECTRONS", "startingpot"), ("ELECTRONS", "electron_maxstep")}
)  # fmt: skip
"""Parameters that a process handler may change; the work chain records which handlers it considered, and reports."""
WIDE_RUNG, WIDE_KEYS = "wide_smearing", frozenset({("SYSTEM", "degauss")})
"""The one rung of the rescue ladder that leaves the protocol, and is never a label."""
HANDLERS_EXTRA = "considered_handlers"


@dataclass(frozen=True)
class Orphan:
    """A node that no rule allows."""

    pk: int
    kind: str
    used_by: str
    port: str
    role: str = "input"
    """'input', or 'output' of a work chain that returned what nothing made."""

    def __str__(self) -> str:
        return f"{self.kind}<{self.pk}>, {self.role} '{self.port}' of {self.used_by}, has no creator"


def find_orphans(campaign: orm.ProcessNode) -> list[Orphan]:
    """All inputs and returned outputs of the campaign's processes that come from nowhere."""
    given = {link.node.pk for link in _inputs(campaign)}
    orphans: dict[int, Orphan] = {}
    for process in descendants(campaign):
        linked = [("input", link) for link in _inputs(process)] + [("output", link) for link in _returned(process)]
        for role, link in linked:
            node = link.node
            if node.pk in given or node.creator is not None or node.pk in orphans:
                continue
            if role == "input" and _is_recorded_setting(process, link.link_label, node):
                continue
            used_by = f"{process.process_label}<{process.pk}>"
            orphans[node.pk] = Orphan(node.pk, type(node).__name__, used_by, link.link_label, role)
    return list(orphans.values())


def _inputs(process: orm.ProcessNode) -> list[Any]:
    return list(process.base.links.get_incoming(link_type=(LinkType.INPUT_CALC, LinkType.INPUT_WORK)).all())


def _returned(process: orm.ProcessNode) -> list[Any]:
    return list(process.base.links.get_outgoing(link_type=LinkType.RETURN).all())


def _is_recorded_setting(process: orm.ProcessNode, port: str, node: orm.Data) -> bool:
    """Whether a DFT job's creator-less setting is what the protocol says, up to changes that are on record."""
    if process.process_label not in DFT_PROCESSES or not isinstance(node, SETTING_TYPES):
        return False
    if port in ("parameters", "settings") and process.process_label == "PwCalculation" and process.caller is not None:
        asked = {link.link_label: link.node for link in _inputs(process.caller)}.get(f"pw__{port}")
        before = asked.get_dict() if asked is not None else {}
        allowed = RESTART_KEYS | (HANDLED_KEYS if _handlers_acted(process) else frozenset())
        if process.label == WIDE_RUNG and process.caller.process_label == "RescuePwWorkChain":
            allowed |= WIDE_KEYS
        return _changed_keys(before, node.get_dict()) <= allowed
    return isinstance(node, orm.Bool)


def _handlers_acted(calculation: orm.ProcessNode) -> bool:
    """Whether a handler has acted on an attempt before this one, so that its parameters may differ.

    AiiDA records all that it considered: per attempt a list of [handler, report], the report null where none acted. An
    attempt without any was never inspected: a step that a crash repeated has left an empty list, and is no attempt.
    """
    (call,) = calculation.base.links.get_incoming(link_type=LinkType.CALL_CALC).all()
    numbered = re.fullmatch(r"iteration_0*([1-9]\d*)", call.link_label)
    inspected = [attempt for attempt in call.node.base.extras.get(HANDLERS_EXTRA, []) if attempt]
    before = inspected[: int(numbered[1]) - 1] if numbered else []
    return any(report is not None for attempt in before for _, report in attempt)


def _changed_keys(before: dict[str, Any], after: dict[str, Any]) -> set[tuple[str, str]]:
    """(namelist, key) of all values that differ; a value that is not in a namelist counts as ('', key)."""
    changed: set[tuple[str, str]] = set()
    for name in before.keys() | after.keys():
        one, other = before.get(name, {}), after.get(name, {})
        if isinstance(one, dict) and isinstance(other, dict):
            changed |= {(name, key) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
        elif one != other:
            changed.add(("", name))
    return changed
