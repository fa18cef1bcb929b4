"""Why a pw.x label ended as it did: the machine's fault, which is repeated, or chemistry, which is a result.

Only what the record says is used: states, exit statuses, outputs.
"""

from __future__ import annotations

from aiida import orm

from .endings import told_end

REQUIRED_OUTPUTS = ("output_parameters", "output_trajectory", "retrieved", "remote_folder")
"""A finished calculation without all of these was damaged by a restart (AiiDA then still says 0)."""
LIMIT_STATUSES = frozenset({110, 120})
"""Out of memory, out of walltime: the same job would end the same way again."""
INFRASTRUCTURE_STATUSES = (frozenset(range(100, 200)) | {301, 302, 303, 304, 305, 312}) - LIMIT_STATUSES
"""Scheduler and node failures, and files that are missing or end in the middle, as a killed pw.x leaves them."""
MISSING_OUTPUT_STATUS = 11
"""AiiDA's exit status of a process that ended without a required output."""
CACHED_FROM = "_aiida_cached_from"


def last_calculation(label: orm.ProcessNode) -> orm.CalcJobNode | None:
    """The last pw.x calculation of a label's work chain, or None if there was none."""
    calculations = [node for node in label.called if isinstance(node, orm.CalcJobNode)]
    return max(calculations, key=lambda node: int(node.pk or 0), default=None)


def infrastructure_failure(label: orm.ProcessNode) -> str | None:
    """What the machine did to this label, in words; None if it did nothing and the result is chemistry's."""
    calculation = last_calculation(label)
    for node in (label, *([calculation] if calculation is not None else [])):
        if node.is_excepted or node.is_killed:
            return told_end(node)
    if calculation is None:
        return f"no pw.x calculation was started ({label.exit_status}: {label.exit_message})"
    if calculation.exit_status in INFRASTRUCTURE_STATUSES:
        return f"pw.x calculation <{calculation.pk}> ended {calculation.exit_status}: {calculation.exit_message}"
    missing = [port for port in REQUIRED_OUTPUTS if port not in calculation.outputs]
    if calculation.is_finished_ok and missing:
        return f"pw.x calculation <{calculation.pk}> ended 0 without {', '.join(missing)}"
    if label.exit_status == MISSING_OUTPUT_STATUS:
        return f"{label.process_label} lacks a required output"
    return None


def bar_from_cache(label: orm.ProcessNode) -> int:
    """Bar the calculations of a label, and all clones of them, from serving as cache; returns how many."""
    calculations = [node for node in label.called if isinstance(node, orm.CalcJobNode)]
    uuids = {node.uuid for node in calculations} | {node.base.caching.get_cache_source() for node in calculations}
    uuids.discard(None)
    if not uuids:
        return 0
    query = orm.QueryBuilder().append(
        orm.CalcJobNode, filters={"or": [{"uuid": {"in": list(uuids)}}, {f"extras.{CACHED_FROM}": {"in": list(uuids)}}]}
    )
    nodes = query.all(flat=True)
    for node in nodes:
        node.base.caching.is_valid_cache = False
    return len(nodes)
