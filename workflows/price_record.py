"""What earlier jobs of this profile cost, lost and moved: what a price is calibrated on. Queries only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm

from ..dft_inputs.cost import LabelSize, PseudoSize, label_core_seconds, label_size, pseudo_size
from ..provenance_db.queries import NOT_SUBMITTED
from ..provenance_db.spending import Job, jobs_of_code

ENOUGH = 5
"""Labels from which a price is calibrated on the record."""
ENOUGH_JOBS = 2
"""Trainings, explorations and shards from which it is: each is hundreds of steps, or many labels."""


TELLING_STEPS = 100
"""Steps of a training, or of all trajectories together, below which a job's time is that of its start."""
TELLING_LABELS = 4
"""Labels of a shard below which it is."""


@dataclass(frozen=True)
class Calibration:
    """What a price is multiplied with: 10 % quantile, median and 90 % quantile, and how many jobs told them."""

    low: float
    middle: float
    high: float
    number: int


def calibration(values: list[float], enough: int = ENOUGH) -> Calibration | None:
    """Quantiles of measured values; None if they are too few."""
    if len(values) < enough:
        return None
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return Calibration(float(low), float(middle), float(high), len(values))


def pw_ratios(code: orm.AbstractCode) -> list[float]:
    """Measured over modelled core-seconds of all labels that this code has made in this profile."""
    ran = {job.pk: job for job in jobs_of_code(code, "PwCalculation")}
    structures = {pk: (sites, kinds, cell) for pk, sites, kinds, cell in _structures(list(ran))}
    pseudos = _pseudos(list(ran))
    ratios = []
    for pk, output, asked in _rows(list(ran), "output_parameters", "parameters"):
        size = _recorded_size(output, asked, structures.get(pk), pseudos.get(pk, {}))
        if size is not None:
            ratios.append(ran[pk].cores * ran[pk].seconds / label_core_seconds(size))
    return ratios


def _recorded_size(
    output: Mapping[str, Any], asked: Mapping[str, Any], structure: Any, pseudos: Mapping[str, PseudoSize]
) -> LabelSize | None:
    """Size of a label by what pw.x was asked and said; None if the record does not say enough."""
    try:
        sites, kinds, cell = structure
        elements = {kind["name"]: kind["symbols"][0] for kind in kinds}
        symbols = [elements[site["kind_name"]] for site in sites]
        mesh, system = output["monkhorst_pack_grid"], asked["SYSTEM"]
        return label_size(
            cell, symbols, {elements[name]: pseudo for name, pseudo in pseudos.items()},
            (system["ecutwfc"], system["ecutrho"]), (int(mesh[0]), int(mesh[1]), int(mesh[2])),
            system.get("nspin") == 2, asked["ELECTRONS"]["conv_thr"] / len(symbols),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _structures(pks: list[int]) -> list[list[Any]]:
    """[pk, sites, kinds, cell] of some jobs."""
    fields = ["attributes.sites", "attributes.kinds", "attributes.cell"]
    return [row for query in _queries(pks) for row in query.append(
        orm.StructureData, with_outgoing="job", edge_filters={"label": "structure"}, project=fields).all()]  # fmt: skip


def _pseudos(pks: list[int]) -> dict[int, dict[str, PseudoSize]]:
    """Sizes of the pseudopotentials of some jobs by the name of the kind; each file is read once."""
    found: dict[int, dict[str, PseudoSize]] = {}
    sizes: dict[int, PseudoSize] = {}
    for query in _queries(pks):
        query.append(
            orm.Data, with_outgoing="job", edge_filters={"label": {"like": "pseudos__%"}}, edge_project=["label"],
            project=["id"], tag="pseudo",
        )  # fmt: skip
        for job, pk, label in query.all():
            if pk not in sizes:
                node: Any = orm.load_node(pk)
                sizes[pk] = pseudo_size(node.get_content())
            found.setdefault(job, {})[label.removeprefix("pseudos__")] = sizes[pk]
    return found


def training_rates(code: orm.AbstractCode, architecture: str, preset: str, start_up: float) -> list[float]:
    """Core-seconds per step and member of all trainings of this kind with this code."""
    ran = {job.pk: job for job in jobs_of_code(code, "TrainCalculation")}
    rates = []
    for pk, settings, _ in _rows(list(ran), None, "settings"):
        if (settings.get("architecture"), settings.get("preset")) == (architecture, preset):
            steps = settings["config"]["steps"] * settings.get("members", 1)
            if steps >= TELLING_STEPS:
                rates.append(_beyond(ran[pk], start_up) / steps)
    return rates


def exploration_rates(code: orm.AbstractCode, start_up: float) -> tuple[list[float], list[float]]:
    """Core-seconds per step of a trajectory, and the share of the steps done, of all explorations with this code."""
    ran = {job.pk: job for job in jobs_of_code(code, "ExploreCalculation")}
    rates, shares = [], []
    for pk, told, settings in _rows(list(ran), "trajectories", "settings"):
        done = [trajectory["steps"] for trajectory in told["trajectories"]]
        if sum(done) >= TELLING_STEPS:
            rates.append(_beyond(ran[pk], start_up) / sum(done))
            shares.append(sum(done) / (len(done) * settings["config"]["steps"]))
    return rates, shares


def label_rates(
    code: orm.AbstractCode, process_label: str, start_up: float, same: Callable[[Mapping[str, Any]], bool]
) -> list[float]:
    """Core-seconds per label of all shards that this code has labelled, where `same` accepts their settings."""
    ran = {job.pk: job for job in jobs_of_code(code, process_label)}
    return [
        _beyond(ran[pk], start_up) / account["submitted"]
        for pk, account, settings in _rows(list(ran), "losses", "settings")
        if same(settings) and account["submitted"] >= TELLING_LABELS
    ]


def losses(protocol_hash: str) -> tuple[int, int]:
    """Labels lost and labels tried under a protocol in this profile; a set that was labelled twice counts once."""
    query = orm.QueryBuilder().append(orm.Dict, filters={"attributes.protocol_hash": protocol_hash}, tag="settings")
    query.append(
        orm.WorkChainNode, with_incoming="settings", edge_filters={"label": "settings"}, tag="label",
        filters={"attributes.process_label": "LabelWorkChain"},
    )  # fmt: skip
    query.append(orm.Dict, with_incoming="label", edge_filters={"label": "losses"}, project=["attributes"])
    query.append(
        orm.Data, with_outgoing="label", edge_filters={"label": "configurations"}, project=["attributes.content_hash"]
    )
    accounts = {content: account for account, content in query.all()}
    lost = tried = 0
    for account in accounts.values():
        never = sum(loss["reason"] == NOT_SUBMITTED for loss in account["lost"])
        lost += len(account["lost"]) - never
        tried += account["submitted"] - never
    return lost, tried


def _beyond(job: Job, start_up: float) -> float:
    return max(job.cores * (job.seconds - start_up), 0.0)


def _rows(pks: list[int], output: str | None, asked: str) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """(pk, document of an output, document of an input) of some jobs; without `output` the input twice."""
    found = []
    for query in _queries(pks):
        if output is not None:
            query.append(orm.Dict, with_incoming="job", edge_filters={"label": output}, project=["attributes"])
        query.append(orm.Dict, with_outgoing="job", edge_filters={"label": asked}, project=["attributes"])
        found += [(pk, documents[0], documents[-1]) for pk, *documents in query.all()]
    return found


def _queries(pks: list[int]) -> Iterator[orm.QueryBuilder]:
    """Queries that begin with some jobs, tagged 'job': their pk comes first in every row."""
    for start in range(0, len(pks), 500):
        some = {"id": {"in": pks[start : start + 500]}}
        yield orm.QueryBuilder().append(orm.CalcJobNode, filters=some, project=["id"], tag="job")
