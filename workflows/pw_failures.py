"""Why a pw.x label ended as it did: the machine's fault, which is repeated, or chemistry, which is a result.

Only what the record says is used: states, exit statuses, outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida_quantumespresso.utils.bands import get_highest_occupied_band

from .endings import told_end

REQUIRED_OUTPUTS = ("output_parameters", "output_trajectory", "retrieved", "remote_folder")
"""A finished calculation without all of these was damaged by a restart (AiiDA then still says 0)."""
ALWAYS_REQUIRED = ("retrieved", "remote_folder")
"""What a finished calculation of any kind has."""
STOPPED_BY_MONITOR = 150
"""By ours, because its self-consistency came nowhere (scf_monitor.py)."""
SCF_STATUSES = frozenset({410, STOPPED_BY_MONITOR, 531})
"""Not self-consistent, or with a density that is no longer one."""
OUT_OF_MEMORY, OUT_OF_TIME = frozenset({110}), frozenset({120})
DIAGONALIZATION_STATUSES = frozenset(range(461, 469)) - {461}
RESCUABLE_STATUSES = SCF_STATUSES | OUT_OF_MEMORY | OUT_OF_TIME | DIAGONALIZATION_STATUSES | {400}
"""What another way of asking may mend (pw_rescue.py); 400 is a clean stop at the end of the wall time."""
INFRASTRUCTURE_STATUSES = (frozenset(range(100, 200)) | {301, 302, 303, 304, 305, 312}) - RESCUABLE_STATUSES
"""Scheduler and node failures, and files that are missing or end in the middle, as a killed pw.x leaves them."""
MISSING_OUTPUT_STATUS = 11
"""AiiDA's exit status of a process that ended without a required output."""
COMMAND_FAILED = 300
"""Exit status of a compute job whose command left no result: it crashed, or was killed."""
CACHED_FROM = "_aiida_cached_from"
VALID_CACHE = "_aiida_valid_cache"
"""Extras in which AiiDA keeps what a node was cloned from, and whether it may be cloned."""


def last_calculation(label: orm.ProcessNode) -> orm.CalcJobNode | None:
    """The last pw.x calculation of a label; None if there was none.

    That is the label itself, or the last that its rescue called; of a rescue that found nothing to try, the one it took
    over.
    """
    if isinstance(label, orm.CalcJobNode):
        return label
    calculations = [node for node in label.called if isinstance(node, orm.CalcJobNode)]
    taken_over = label.inputs.failed.creator if "failed" in label.inputs else None
    return max(calculations, key=lambda node: int(node.pk or 0), default=taken_over)


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


def chemistry_failure(calculation: orm.ProcessNode) -> str | None:
    """Why a first calculation is worth a rescue, in words; None if it is good, or nothing is known against its end."""
    if not isinstance(calculation, orm.CalcJobNode):
        return None
    if calculation.exit_status in RESCUABLE_STATUSES:
        return f"{calculation.exit_status}: {calculation.exit_message}"
    full = calculation.is_finished_ok and bands_run_out(calculation, outputs_of(calculation))
    return "its highest band is occupied" if full else None


def outputs_of(calculation: orm.CalcJobNode) -> dict[str, Any]:
    """All outputs by name: one query, where AiiDA's `outputs` makes one for each name."""
    return {link.link_label: link.node for link in calculation.base.links.get_outgoing(link_type=LinkType.CREATE).all()}


def stdout_of(calculation: orm.CalcJobNode) -> str:
    """What pw.x printed, '' where nothing came back."""
    return printed(calculation, outputs_of(calculation))


def printed(calculation: orm.CalcJobNode, outputs: Mapping[str, Any]) -> str:
    """The same, of these outputs of the calculation."""
    name = calculation.base.attributes.get("output_filename", "aiida.out")
    try:
        return str(outputs["retrieved"].base.repository.get_object_content(name, mode="r"))
    except (OSError, KeyError, UnicodeDecodeError):
        return ""


def bands_run_out(calculation: orm.CalcJobNode, outputs: Mapping[str, Any]) -> bool:
    """Whether the highest band is occupied: the smearing wanted more bands than there were.

    With fixed occupations all bands may be occupied, as those of an isolated atom are.
    """
    if "output_band" not in outputs:
        return False
    try:
        get_highest_occupied_band(outputs["output_band"])
    except ValueError:
        asked = calculation.inputs.parameters.get_dict() if "parameters" in calculation.inputs else {}
        return asked.get("SYSTEM", {}).get("occupations") != "fixed"
    return False


def damage(calculation: orm.CalcJobNode) -> str | None:
    """What is wrong with a calculation that AiiDA calls finished, in words; None if nothing is."""
    if calculation.exit_status == MISSING_OUTPUT_STATUS:
        return "lacks a required output"
    if not calculation.is_finished_ok:
        return None
    outputs = outputs_of(calculation)
    required = REQUIRED_OUTPUTS if calculation.process_label == "PwCalculation" else ALWAYS_REQUIRED
    missing = [port for port in required if port not in outputs]
    return f"ended 0 without {', '.join(missing)}" if missing else None


def spoiled(job: orm.ProcessNode) -> str | None:
    """What the machine did to a compute job, in words; None if it did nothing, and the job's result is its own."""
    own = job.exit_status is not None and job.exit_status not in {COMMAND_FAILED, *INFRASTRUCTURE_STATUSES}
    if own and (not isinstance(job, orm.CalcJobNode) or damage(job) is None):
        return None
    return told_end(job)


def bar_from_cache(label: orm.ProcessNode) -> int:
    """Bar the calculations of a label, and all clones of them, from serving as cache; returns how many."""
    return bar_calculations([node for node in (label, *label.called) if isinstance(node, orm.CalcJobNode)])


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
