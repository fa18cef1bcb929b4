"""Labels from an ASE calculator, and the account that every labeller gives of what became of its configurations.

Every configuration leaves as a labelled frame or as a loss with its reason; one that fails never stops the others.

An account is a document: `submitted`; `ok`, the number of labels that were good at the first attempt; `rescued`, an
entry per label that was good at a later one, with the rung of remedies that did it; `lost`, an entry per configuration
without a label, with the reason; and `sources` and `elements`, the four numbers by source and by element. A label
counts once for each element that it contains. submitted = ok + rescued + lost, in all, by source and by element.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from .dataset import protocol_hash_of
from .frames import Configuration, FrameError, LabelledFrame
from .sanity import unphysical
from .settings import check_keys
from .units import MINIMUM_DISTANCE_RATIO_DFT

LOSSES = ("unphysical_distance", "calculator_failed", "unusable_result")
"""Reasons for a loss: refused by the distance rule; the calculator raised; its numbers are missing or not finite."""


class LabellingError(ValueError):
    """A calculator that cannot be found or made."""


@dataclass(frozen=True)
class Loss:
    """A configuration that got no label."""

    configuration_id: str
    formula: str
    source: str
    reason: str
    """One of LOSSES, or of the labeller's own."""
    message: str
    """What was seen, in one line."""


def loss_document(
    configuration: Configuration, reason: str, message: str, figures: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The entry of a lost label in an account.

    :param figures: of a label that was computed and set aside, such as energy, largest force and pressure, by name with
        unit.
    """
    entry = dataclasses.asdict(lost(configuration, reason, message))
    return {**entry, "figures": dict(figures)} if figures else entry


def rescue_document(configuration: Configuration, rung: str) -> dict[str, Any]:
    """The entry of a rescued label in an account; `rung` names the remedy with which it was good."""
    return {
        "configuration_id": configuration.configuration_id,
        "formula": configuration.formula,
        "source": configuration.origin.source,
        "rung": rung,
    }


def account(
    configurations: Sequence[Configuration],
    ok: Iterable[str],
    rescued: Iterable[Mapping[str, Any]],
    lost: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """What became of the configurations, as the document that the head of this module describes.

    :param configurations: all that were asked for.
    :param ok: configuration_id of each label that was good at the first attempt.
    :param rescued: entries as `rescue_document` makes them.
    :param lost: entries as `loss_document` makes them.

    Raises LabellingError if they do not add up: an entry of a configuration that was not asked for, one too many or
    too few.
    """
    entries = [[dict(entry) for entry in rescued], [dict(entry) for entry in lost]]
    ends = [list(ok), *([entry["configuration_id"] for entry in each] for each in entries)]
    asked = Counter(configuration.configuration_id for configuration in configurations)
    told = Counter(name for names in ends for name in names)
    if asked != told:
        raise LabellingError(
            f"{asked.total()} configurations, {' + '.join(str(len(names)) for names in ends)} ok, rescued and lost: "
            f"no account of {', '.join(sorted((asked - told).keys())) or 'none'}, too many of "
            f"{', '.join(sorted((told - asked).keys())) or 'none'}"
        )
    by_id = {configuration.configuration_id: configuration for configuration in configurations}
    names = [list(asked.elements()), *ends]
    sources = [Counter(by_id[name].origin.source for name in each) for each in names]
    elements = [Counter(symbol for name in each for symbol in _symbols(by_id[name])) for each in names]
    return {
        "submitted": len(configurations),
        "ok": len(ends[0]),
        "rescued": entries[0],
        "lost": entries[1],
        "sources": _rows(sources),
        "elements": _rows(elements),
    }


def merge_accounts(accounts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several accounts as one, without the rows by source and element if an old one has none."""
    known = list(accounts)
    merged: dict[str, Any] = {
        "submitted": sum(each["submitted"] for each in known),
        "ok": sum(each["ok"] for each in known),
        "rescued": [entry for each in known for entry in each.get("rescued", [])],
        "lost": [entry for each in known for entry in each["lost"]],
    }
    for key in ("sources", "elements"):
        if all(key in each for each in known):
            columns: list[Counter[str]] = [Counter() for _ in range(4)]
            for each in known:
                for name, row in each[key].items():
                    for column, number in zip(columns, row, strict=True):
                        column[name] += number
            merged[key] = _rows(columns)
    return merged


def _rows(columns: Sequence[Counter[str]]) -> dict[str, list[int]]:
    """name -> [submitted, ok, rescued, lost], by name."""
    return {name: [column[name] for column in columns] for name in sorted(columns[0])}


def _symbols(configuration: Configuration) -> set[str]:
    return {chemical_symbols[z] for z in configuration.numbers}


def protocol_of(calculator: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol document of labels by an ASE calculator: what it was, and which ASE it was part of."""
    return {"calculator": calculator, "parameters": dict(parameters), "ase": ase.__version__}


def label_with_ase(
    configurations: Sequence[Configuration], calculator: str, parameters: Mapping[str, Any]
) -> Iterator[LabelledFrame | Loss]:
    """Label configurations one by one, in their order.

    :param calculator: import path of a calculator class, such as ase.calculators.lj:LennardJones.
    :param parameters: its keyword arguments.

    Energies are free energies where the calculator has them; stress is left out where it is not implemented or the
    configuration is not periodic. Raises LabellingError, before anything is computed, if there is no such calculator.
    """
    protocol_hash = protocol_hash_of(protocol_of(calculator, parameters))
    engine = make_calculator(calculator, parameters)
    return _labels(configurations, engine, calculator, parameters, protocol_hash)


def make_calculator(path: str, parameters: Mapping[str, Any]) -> Calculator:
    """The calculator of an import path 'module:Class'; raises LabellingError if it cannot be imported or made."""
    module, _, name = path.partition(":")
    if not module or not name:
        raise LabellingError(f"calculator {path!r}: expected module:Class, such as ase.calculators.lj:LennardJones")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LabellingError(f"calculator {path!r} cannot be imported: {error}") from error
    _check_parameters(path, factory, parameters)
    try:
        made: Calculator = factory(**parameters)
    except Exception as error:  # any class of any package may be named here
        raise LabellingError(f"calculator {path!r} refuses its parameters: {_line(error)}") from error
    if not hasattr(made, "get_forces") or not hasattr(made, "implemented_properties"):
        raise LabellingError(f"calculator {path!r} makes a {type(made).__name__}, expected an ASE calculator")
    return made


def _check_parameters(path: str, factory: Any, parameters: Mapping[str, Any]) -> None:
    """Many ASE calculators swallow any keyword: refuse one that is neither a default parameter nor an argument."""
    defaults = getattr(factory, "default_parameters", None)
    if defaults:
        arguments = [*inspect.signature(factory).parameters, *inspect.signature(Calculator).parameters]
        check_keys(parameters, [*defaults, *arguments], f"parameters of {path}")


def _labels(
    configurations: Sequence[Configuration],
    engine: Calculator,
    calculator: str,
    parameters: Mapping[str, Any],
    identity: str,
) -> Iterator[LabelledFrame | Loss]:
    for configuration in configurations:
        result = _label(configuration, engine, identity)
        if isinstance(result, Loss):  # a calculator that failed may be left in any state
            engine = make_calculator(calculator, parameters)
        yield result


def _label(configuration: Configuration, engine: Calculator, identity: str) -> LabelledFrame | Loss:
    if problem := unphysical(configuration, MINIMUM_DISTANCE_RATIO_DFT):
        return lost(configuration, "unphysical_distance", problem)
    atoms = configuration.to_atoms()
    atoms.calc = engine
    try:
        forces = atoms.get_forces()
        energy = atoms.get_potential_energy()
        energy = engine.results.get("free_energy", energy)
        has_stress = configuration.periodic and "stress" in engine.implemented_properties
        stress = atoms.get_stress(voigt=False) if has_stress else None
    except Exception as error:  # noqa: BLE001 whatever a calculator raises is the loss of one configuration
        return lost(configuration, "calculator_failed", _line(error))
    try:
        return LabelledFrame(configuration, float(energy), forces, stress, identity)
    except (FrameError, TypeError) as error:
        return lost(configuration, "unusable_result", _line(error))


def lost(configuration: Configuration, reason: str, message: str) -> Loss:
    """The loss of a configuration."""
    return Loss(configuration.configuration_id, configuration.formula, configuration.origin.source, reason, message)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
