"""What a campaign has spent: each calculation job with its cores and seconds, by few queries however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from .queries import labels_spent, seconds

CALLS = {"type": {"in": [LinkType.CALL_CALC.value, LinkType.CALL_WORK.value]}}
CHUNK = 500
"""Nodes per query: databases limit the length of lists."""
NOT_AT_WORK = (None, "created")
"""States of a job that has not begun; one whose caller died stays there for ever."""
FIELDS = {
    "process_label": "attributes.process_label",
    "state": "attributes.process_state",
    "scheduler_state": "attributes.scheduler_state",
    "resources": "attributes.resources",
    "environment": "attributes.environment_variables",
    "last_job_info": "attributes.last_job_info",
    "detailed_job_info": "attributes.detailed_job_info",
    "cached_from": "extras._aiida_cached_from",
    "ctime": "ctime",
    "mtime": "mtime",
}


@dataclass(frozen=True)
class Job:
    """One calculation job of a campaign."""

    pk: int
    stage: str
    """One of queries.STAGES: the child of the iteration under which the job hangs."""
    process_label: str
    cores: int
    seconds: float
    """Time at work, as nearly as the record knows; see `jobs`."""
    cached: bool
    """Taken from the cache: nothing ran."""
    terminated: bool


def jobs(campaigns: Sequence[orm.WorkChainNode]) -> list[Job]:
    """All calculation jobs under the iterations of some campaigns, by pk.

    Seconds are pw.x's own where it told them; else the scheduler's account; else (jobs run directly have none) the time
    from creation to the last change of the node, or to now while the job is at work. A job that waits has none yet.
    """
    workers: dict[int, str] = {}
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    iterations = _called(
        orm.WorkChainNode, [int(node.pk or 0) for node in campaigns], {"label": {"like": "iteration%"}}
    )
    callers = {row["pk"]: row["pk"] for row in iterations}
    for row in _called(orm.WorkChainNode, list(callers), {}):
        workers[row["pk"]] = _stage(row["link"])
    for row in _called(orm.CalcJobNode, list(callers), {}, FIELDS):
        found[row["pk"]] = (_stage(row["link"]), row)
    while workers:
        for row in _called(orm.CalcJobNode, list(workers), {}, FIELDS):
            found[row["pk"]] = (workers[row["caller"]], row)
        workers = {row["pk"]: workers[row["caller"]] for row in _called(orm.WorkChainNode, list(workers), {})}
    told = _told_by_pw(list(found))
    computers = {computer.pk: computer for computer in orm.QueryBuilder().append(orm.Computer).all(flat=True)}
    return [
        _job(pk, stage, row, computers.get(row["computer"]), told.get(pk)) for pk, (stage, row) in sorted(found.items())
    ]


def jobs_of_code(code: orm.AbstractCode, process_label: str) -> list[Job]:
    """All jobs of a kind that ran with a code and ended well, in whatever context, by pk; their stage is ''."""
    names = {"pk": "id", "computer": "dbcomputer_id", **FIELDS}
    done = {"attributes.process_label": process_label, "attributes.exit_status": 0}
    query = orm.QueryBuilder().append(orm.AbstractCode, filters={"id": code.pk}, tag="code")
    query.append(orm.CalcJobNode, with_incoming="code", filters=done, project=list(names.values()))
    rows = {values[0]: dict(zip(names, values, strict=True)) for values in query.all(batch_size=CHUNK)}
    told = _told_by_pw(list(rows))
    found = [_job(pk, "", row, code.computer, told.get(pk)) for pk, row in sorted(rows.items())]
    return [job for job in found if not job.cached]


def core_seconds(spent: Sequence[Job]) -> float:
    """Cores times seconds over all jobs that were not taken from the cache."""
    return sum(job.cores * job.seconds for job in spent if not job.cached)


def spent(parts: Sequence[orm.WorkChainNode]) -> dict[str, float]:
    """What campaigns that continue each other have spent, under the keys of the section `budget` of a campaign file."""
    ended, lost = labels_spent(parts)
    return {
        "labels": ended,
        "core_hours": round(core_seconds(jobs(parts)) / 3600, 4),
        "wall_hours": round(sum(map(seconds, parts)) / 3600, 4),
        "lost_share": round(lost / ended, 4) if ended else 0.0,
    }


def _called(
    kind: type[orm.ProcessNode], callers: list[int], link: dict[str, Any], fields: dict[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows pk, caller, link (its label), computer and `fields` of all processes of a kind that some callers called."""
    names = {"pk": "id", "computer": "dbcomputer_id", **(fields or {})}
    for start in range(0, len(callers), CHUNK):
        query = orm.QueryBuilder()
        some = {"id": {"in": callers[start : start + CHUNK]}}
        query.append(orm.WorkChainNode, filters=some, project=["id"], tag="caller")
        query.append(
            kind, with_incoming="caller", project=list(names.values()), edge_filters={**CALLS, **link},
            edge_project=["label"], tag="called",
        )  # fmt: skip
        for caller, *values, label in query.all(batch_size=CHUNK):
            yield {"caller": caller, "link": label, **dict(zip(names, values, strict=True))}


def _stage(link: str) -> str:
    """The stage of a child of an iteration, whichever attempt at it that is."""
    return link.partition("_attempt_")[0]


def _told_by_pw(pks: list[int]) -> dict[int, float]:
    """Wall time in s by pk, of the jobs whose `output_parameters` state it."""
    told: dict[int, float] = {}
    for start in range(0, len(pks), CHUNK):
        query = orm.QueryBuilder()
        query.append(orm.CalcJobNode, filters={"id": {"in": pks[start : start + CHUNK]}}, project=["id"], tag="job")
        query.append(
            orm.Dict, with_incoming="job", project=["attributes.wall_time_seconds"],
            edge_filters={"label": "output_parameters"},
        )  # fmt: skip
        told |= {pk: float(seconds) for pk, seconds in query.all(batch_size=CHUNK) if seconds is not None}
    return told


def _job(pk: int, stage: str, row: dict[str, Any], computer: orm.Computer | None, told: float | None) -> Job:
    terminated = row["state"] in ("finished", "excepted", "killed")
    at_work = row["state"] not in NOT_AT_WORK and not str(row["scheduler_state"]).startswith("queued")
    accounted = None if computer is None or computer.scheduler_type == "core.direct" else _accounted(row)
    lived = (row["mtime"] if terminated else datetime.now(UTC)) - row["ctime"]
    seconds = told or (accounted if terminated else None) or (lived.total_seconds() if terminated or at_work else 0.0)
    return Job(
        pk,
        stage,
        row["process_label"] or "",
        cores_of(row["resources"], row["environment"], computer),
        float(seconds),
        row["cached_from"] is not None,
        terminated,
    )


def cores_of(
    resources: Mapping[str, Any] | None, environment: Mapping[str, Any] | None, computer: orm.Computer | None
) -> int:
    """Processes times threads that the options `resources` and `environment_variables` of a job ask for."""
    asked = resources or {}
    usual = (computer.get_default_mpiprocs_per_machine() if computer is not None else None) or 1
    each = asked.get("num_mpiprocs_per_machine") or usual
    processes = asked.get("tot_num_mpiprocs") or (asked.get("num_machines") or 1) * each
    threads = str((environment or {}).get("OMP_NUM_THREADS", 1))
    return int(processes) * (int(threads) if threads.isdigit() else 1)


def _accounted(row: dict[str, Any]) -> float | None:
    """Wall time in s by the scheduler's accounting (the `Elapsed` of sacct), or as last seen in its queue."""
    lines = str((row["detailed_job_info"] or {}).get("stdout") or "").splitlines()
    if len(lines) > 1 and "Elapsed" in lines[0].split("|"):
        cells = lines[1].split("|")
        days, _, clock = cells[lines[0].split("|").index("Elapsed")].rpartition("-")
        parts = [int(part) for part in clock.split(":") if part.isdigit()]
        return float(int(days or 0) * 86400 + sum(60**power * part for power, part in enumerate(reversed(parts))))
    return (row["last_job_info"] or {}).get("wallclock_time_seconds")
