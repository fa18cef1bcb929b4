"""Why a pw.x label ended as it did: the machine's fault, which is repeated, or chemistry, which is a result.

Only what the record says is used: states, exit statuses, outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiida import orm

from .endings import told_end

REQUIRED_OUTPUTS = ("output_parameters", "output_trajectory", "retrieved", "remote_folder")
"""A finished calculation without all of these was damaged by a restart (AiiDA then still says 0)."""
ALWAYS_REQUIRED = ("retrieved", "remote_folder")
"""What a finished calculation of any kind has."""
LIMIT_STATUSES = frozenset({110, 120})
"""Out of memory, out of walltime: the same job would end the same way again."""
INFRASTRUCTURE_STATUSES = (frozenset(range(100, 200)) | {301, 302, 303, 304, 305, 312}) - LIMIT_STATUSES
"""Scheduler and node failures, and files that are missing or end in the middle, as a killed pw.x leaves them."""
MISSING_OUTPUT_STATUS = 11
"""AiiDA's exit status of a process that ended without a required output."""
COMMAND_FAILED = 300
"""Exit status of a compute job whose command left no result: it crashed, or was killed."""
CACHED_FROM = "_aiida_cached_from"
VALID_CACHE = "_aiida_valid_cache"
"""Extras in which AiiDA keeps what a node was cloned from, and whether it may be cloned."""


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
    if (damaged := damage(calculation)) is not None:
        return f"pw.x calculation <{calculation.pk}> {damaged}"
    if label.exit_status == MISSING_OUTPUT_STATUS:
        return f"{label.process_label} lacks a required output"
    return None


def damage(calculation: orm.CalcJobNode) -> str | None:
    """What is wrong with a calculation that AiiDA calls finished, in words; None if nothing is."""
    if calculation.exit_status == MISSING_OUTPUT_STATUS:
        return "lacks a required output"
    required = REQUIRED_OUTPUTS if calculation.process_label == "PwCalculation" else ALWAYS_REQUIRED
    missing = [port for port in required if port not in calculation.outputs]
    return f"ended 0 without {', '.join(missing)}" if calculation.is_finished_ok and missing else None


def spoiled(job: orm.ProcessNode) -> str | None:
    """What the machine did to a compute job, in words; None if it did nothing, and the job's result is its own."""
    own = job.exit_status is not None and job.exit_status not in {COMMAND_FAILED, *INFRASTRUCTURE_STATUSES}
    if own and (not isinstance(job, orm.CalcJobNode) or damage(job) is None):
        return None
    return told_end(job)


def bar_from_cache(label: orm.ProcessNode) -> int:
    """Bar the calculations of a label, and all clones of them, from serving as cache; returns how many."""
    return bar_calculations([node for node in label.called if isinstance(node, orm.CalcJobNode)])


def bar_calculations(calculations: Sequence[orm.CalcJobNode]) -> int:
    """Bar calculations, what they were cloned from and all other clones of it from serving as cache.

    :returns: how many nodes that are, those aside that were barred already.
    """
    uuids = {node.uuid for node in calculations} | {node.base.caching.get_cache_source() for node in calculations}
    uuids.discard(None)
    if not uuids:
        return 0
    query = orm.QueryBuilder().append(
        orm.CalcJobNode, filters={"or": [{"uuid": {"in": list(uuids)}}, {f"extras.{CACHED_FROM}": {"in": list(uuids)}}]}
    )
    nodes = [node for node in query.all(flat=True) if node.base.extras.get(VALID_CACHE, True)]
    for node in nodes:
        node.base.caching.is_valid_cache = False
    return len(nodes)
