"""Labels from an ASE calculator: for tests, demonstrations and any potential that has one.

Every configuration leaves as a labelled frame or as a loss with its reason; one that fails never stops the others.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
from ase.calculators.calculator import Calculator

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


def loss_document(configuration: Configuration, reason: str, message: str) -> dict[str, Any]:
    """The entry of a lost label in an account of losses."""
    return dataclasses.asdict(lost(configuration, reason, message))


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
