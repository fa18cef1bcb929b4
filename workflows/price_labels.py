"""What one label of a campaign costs, leaves on disk, and how likely it is lost: from the record, or from a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase.data import chemical_symbols

from ..dft_inputs.cost import SPREAD, PseudoSize, label_core_seconds, label_size, pseudo_size, scratch_bytes
from ..dft_inputs.kpoints import kpoint_mesh
from ..dft_inputs.protocol import Protocol, plane_waves
from ..dft_inputs.reference_atoms import MESH
from ..mlip.frames import Configuration
from ..provenance_db.spending import cores_of
from .price_record import ENOUGH, ENOUGH_JOBS, calibration, label_rates, losses, pw_ratios
from .price_sample import Sample
from .reference_atoms import is_reference_atom

OVERHEAD = 3.9
"""s per label that AiiDA needs beside pw.x, on one machine with a SQLite profile; see docs/prices.md."""
SHIPPED_LOSSES = (0, 199)
"""Labels that did not converge, of those tried: those of dft_random_cells, label_cost and source_labels."""
SHARD_SECONDS, ASE_SECONDS = 2.7, 0.003
"""s per shard and per label of the labellers `ase` (with a pair potential) and `table`; see docs/prices.md."""
SCRATCH_LABEL = 2_000
"""Bytes that a label of those leaves on the computer: its frame, in and out."""
ENOUGH_LABELS = 20
"""Labels from which the share of lost ones is taken from the record."""


@dataclass(frozen=True)
class Range:
    """An expectation with a low and a high end, where what is known scatters: 10 and 90 % (see docs/prices.md)."""

    low: float
    expected: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.expected * factor, self.high * factor)


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LabelPrice:
    """One label."""

    first: Range
    """Core-seconds, mean over labels of the first iteration."""
    later: Range
    """The same for later iterations."""
    cores: int
    overhead: float
    """s beside the calculation itself."""
    scratch: float
    """Bytes on the computer."""
    source: str
    shard_size: int | None = None
    """Labels per job; None is a job for each label."""
    shard: Range = NOTHING
    """Core-seconds per job beside its labels."""

    def jobs(self, labels: Sequence[int]) -> int:
        """Calculation jobs for so many labels per iteration."""
        return sum(labels) if self.shard_size is None else sum(-(-number // self.shard_size) for number in labels)


def label_price(builder: Any, settings: Mapping[str, Any], drawn: Sample) -> LabelPrice:
    """Price of a label with the campaign's own labeller, protocol and code."""
    options, code = settings["stages"]["label"]["options"], builder.codes["label"]
    cores = cores_of(options.get("resources"), options.get("environment_variables"), code.computer)
    if settings["label"]["labeller"] == "quantumespresso":
        return _pw_price(builder, settings["label"], drawn, cores)
    return _plain_price(settings["label"], code, cores)


def _pw_price(builder: Any, label: Mapping[str, Any], drawn: Sample, cores: int) -> LabelPrice:
    """By the model of dft_inputs/cost.py, calibrated on earlier labels of the same code where there are enough."""
    code, known = builder.codes["label"], calibration(pw_ratios(builder.codes["label"]))
    pseudos = {symbol: pseudo_size(pseudo.get_content()) for symbol, pseudo in builder.pseudos.items()}
    sizes = {
        symbol: pseudo.base.repository.get_object_size(pseudo.filename) for symbol, pseudo in builder.pseudos.items()
    }
    first, later = (
        _mean(configurations, label, pseudos, sizes)
        for configurations in (drawn.first or drawn.later, drawn.later or drawn.first)
    )
    number = len(drawn.first) + len(drawn.later)
    sampled = f"{number} configurations of this campaign by the model of docs/prices.md"
    if known is not None:
        factor = Range(known.low, known.middle, known.high)
        told = f"{sampled}, times {known.middle:.2f} by {known.number} labels of {code.full_label} in this profile"
    else:
        factor = Range(SPREAD[0], 1.0, SPREAD[1])
        told = f"{sampled}, not calibrated: this profile has fewer than {ENOUGH} labels of {code.full_label}"
    if cores > 1:
        told += f"; on {cores} cores per label it may be more, for the model knows one"
    return LabelPrice(factor * first[0], factor * later[0], cores, OVERHEAD, (first[1] + later[1]) / 2, told)


def _mean(
    configurations: Sequence[Configuration],
    label: Mapping[str, Any],
    pseudos: Mapping[str, PseudoSize],
    sizes: Mapping[str, int],
) -> tuple[float, float]:
    """Mean core-seconds and bytes of scratch, uncalibrated."""
    protocol = Protocol(**label["request"])
    waves = plane_waves(protocol, tuple(label["cutoffs"]))
    seconds = scratch = 0.0
    for configuration in configurations:
        symbols = [chemical_symbols[z] for z in configuration.numbers]
        cell = configuration.cell if configuration.periodic else [[10.0, 0, 0], [0, 10.0, 0], [0, 0, 10.0]]
        size = label_size(
            cell, symbols, pseudos, (waves["ecutwfc"], waves["ecutrho"]),
            MESH if is_reference_atom(configuration) else kpoint_mesh(cell, protocol.kpoints_spacing),
            protocol.spin == "collinear", protocol.conv_thr_per_atom,
        )  # fmt: skip
        seconds += label_core_seconds(size)
        scratch += scratch_bytes(size, sum(sizes[symbol] for symbol in set(symbols)))
    return seconds / len(configurations), scratch / len(configurations)


def _plain_price(label: Mapping[str, Any], code: Any, cores: int) -> LabelPrice:
    """Labellers that are one job per shard: from the record of the same protocol, or a small figure."""
    process = {"ase": "LabelAseCalculation", "table": "LabelTableCalculation"}[label["labeller"]]
    rates = label_rates(
        code, process, SHARD_SECONDS, lambda document: document.get("protocol_hash") == label["protocol_hash"]
    )
    known = calibration(rates, ENOUGH_JOBS)
    if known is not None:
        each = Range(known.low, known.middle, known.high)
        told = f"{known.number} shards of the same labels by {code.full_label} in this profile"
    elif label["labeller"] == "table":
        each, told = NOTHING, "labels are looked up"
    else:
        each = Range(0.5, 1.0, 10.0) * (cores * ASE_SECONDS)
        told = f"{ASE_SECONDS} s per label of a pair potential; what your calculator needs is not known"
    told += f"; start-up of {SHARD_SECONDS} s per shard as measured (docs/prices.md)"
    shard = Range(0.5, 1.0, 2.0) * (cores * SHARD_SECONDS)
    return LabelPrice(each, each, cores, 0.0, SCRATCH_LABEL, told, label["shard_size"], shard)


def expected_losses(label: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Labels of a campaign that will be lost, as a share (with the range of what so few cases can say) and a count.

    All are None where nothing is known.
    """
    lost, tried = losses(label["protocol_hash"])
    source = f"{lost} of {tried} labels of this protocol in this profile were lost"
    if tried < ENOUGH_LABELS:
        lost, tried = SHIPPED_LOSSES
        source = f"{lost} of {tried} labels of random cells did not converge (benchmarks/results); caps come on top"
        if label["labeller"] != "quantumespresso":
            source = f"not known: this profile has fewer than {ENOUGH_LABELS} labels of this protocol"
            return {
                "expected_share": None,
                "low_share": None,
                "high_share": None,
                "expected": None,
                "high": None,
                "source": source,
            }
    low, high = wilson(lost, tried)
    return {
        "expected_share": lost / tried, "low_share": low, "high_share": high,
        "expected": round(lost / tried * number, 1), "high": round(high * number, 1), "source": source,
    }  # fmt: skip


def wilson(lost: int, tried: int, z: float = 1.2816) -> tuple[float, float]:
    """Range of a share of which `lost` of `tried` cases were seen; z is 1.28 for 80 of 100 (Wilson, 1927)."""
    if tried == 0:
        return 0.0, 1.0
    share, square = lost / tried, z * z / tried
    centre, half = (
        (share + square / 2) / (1 + square),
        z * ((share * (1 - share) + square / 4) / tried) ** 0.5 / (1 + square),
    )
    return max(0.0, centre - half), min(1.0, centre + half)
