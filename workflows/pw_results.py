"""Between configurations and pw.x: what is asked, and what the answers are worth.

Every configuration leaves as a labelled frame or as a loss with a reason. Reasons: see REASONS and `REFUSALS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from ase.data import chemical_symbols

from ..dft_inputs.kpoints import kpoint_mesh
from ..dft_inputs.protocol import Protocol, pw_parameters
from ..dft_inputs.pseudos.upf import header
from ..dft_inputs.pw_output import PwOutputError, tensile_stress, version_number
from ..mlip.frames import Configuration, FrameError, LabelledFrame
from ..mlip.labelling import loss_document
from ..mlip.sanity import distance_ratio
from ..mlip.units import GPA, RYDBERG
from ..provenance_db.queries import NOT_SUBMITTED
from .endings import told_end
from .pw_failures import INFRASTRUCTURE_STATUSES

REASONS = {
    110: "out_of_memory", 120: "out_of_walltime", 400: "out_of_walltime",
    410: "scf_not_converged", 461: "bands_not_converged", 462: "cholesky",
    312: "output_incomplete", 305: "output_incomplete", 302: "output_missing", 303: "output_missing",
}  # fmt: skip
"""Reason by exit status of PwCalculation; the machine's other failures are 'infrastructure', the rest 'pw_exit_s'."""
UNSUBMITTED = "structure"
"""`<UNSUBMITTED>_<label>` among the results: the structure of a label that was never submitted."""
MACHINE_REASONS = ("infrastructure", "output_missing", "output_incomplete")
"""Reasons that say nothing about the configuration: a resumed campaign asks for these labels again."""
REFUSALS = ("not_periodic", "atoms_too_close", "no_pseudopotential")
"""Reasons why a configuration is never sent to pw.x."""


class LabelLost(ValueError):
    """A label that is not to be had: a reason code and what happened in words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def label_name(index: int) -> str:
    """Name of the label of configuration `index` of a shard, in links and reports."""
    return f"label_{index:03d}"


def pw_inputs(configurations: Sequence[Configuration], settings: Mapping[str, Any]) -> dict[str, Any]:
    """AiiDA nodes with all that pw.x is asked.

    :returns: `structures`, `kpoints` and `parameters` by label name, `max_iterations`, and `gamma_settings` for cells
        with the one k point Gamma.
    """
    protocol = Protocol(**settings["request"])
    structures, kpoints, parameters = {}, {}, {}
    for index, configuration in enumerate(configurations):
        if _refusal(configuration, settings):
            continue
        name = label_name(index)
        structures[name] = orm.StructureData(ase=_plain_atoms(configuration))
        mesh = orm.KpointsData()
        mesh.set_kpoints_mesh(list(kpoint_mesh(configuration.cell, protocol.kpoints_spacing)))
        kpoints[name] = mesh
        symbols = [chemical_symbols[z] for z in configuration.numbers]
        # files are kept for the XML, from which aiida-quantumespresso takes bands, occupations and the version
        namelists = pw_parameters(protocol, settings["elements"], symbols, tuple(settings["cutoffs"]), keep_files=True)
        parameters[name] = orm.Dict(namelists)
    return {
        "structures": structures,
        "kpoints": kpoints,
        "parameters": parameters,
        "max_iterations": orm.Int(settings["max_iterations"]),
        "gamma_settings": orm.Dict({"gamma_only": True}),
    }


def collect(
    configurations: Sequence[Configuration], settings: Mapping[str, Any], results: Mapping[str, orm.Data]
) -> tuple[list[LabelledFrame], dict[str, Any]]:
    """Labelled frames, and the account of losses.

    :param results: outputs of the last pw.x calculation of each label: `output_parameters_<label>`,
        `output_trajectory_<label>`, `retrieved_<label>`; what is missing is a loss; `structure_<label>` of those that
        were never submitted.
    :returns: frames, and {submitted, ok, lost: [{configuration_id, formula, source, reason, message}]}.
    """
    frames, lost = [], []
    for index, configuration in enumerate(configurations):
        try:
            frames.append(_label(configuration, settings, results, label_name(index)))
        except LabelLost as loss:
            lost.append(loss_document(configuration, loss.reason, str(loss)))
    return frames, {"submitted": len(configurations), "ok": len(frames), "lost": lost}


def pseudo_atom_energies(pseudos: Mapping[str, Any]) -> dict[str, float]:
    """Energy of the spherical, not spin-polarised pseudo-atom by element, eV, from the header of each UPF file."""
    return {symbol: header(node.get_content()).total_energy * RYDBERG for symbol, node in sorted(pseudos.items())}


def _plain_atoms(configuration: Configuration) -> Atoms:
    return Atoms(numbers=configuration.numbers, positions=configuration.positions, cell=configuration.cell, pbc=True)


def _refusal(configuration: Configuration, settings: Mapping[str, Any]) -> LabelLost | None:
    """Why a configuration is not sent to pw.x, or None."""
    if not configuration.periodic:
        return LabelLost("not_periodic", "pw.x needs a periodic cell; put an isolated structure into a box")
    unknown = sorted({chemical_symbols[z] for z in configuration.numbers} - set(settings["elements"]))
    if unknown:
        return LabelLost("no_pseudopotential", f"{', '.join(unknown)} is not among the campaign's elements")
    floor, ratio = settings["request"]["minimum_distance_ratio"], distance_ratio(configuration)
    if ratio < floor:
        return LabelLost("atoms_too_close", f"closest pair at {ratio:.3f} of its covalent radii, the floor is {floor}")
    return None


def _label(
    configuration: Configuration, settings: Mapping[str, Any], results: Mapping[str, Any], name: str
) -> LabelledFrame:
    refusal = _refusal(configuration, settings)
    if refusal is not None:
        raise refusal
    if f"{UNSUBMITTED}_{name}" in results:
        raise LabelLost(NOT_SUBMITTED, "the campaign came to a limit first")
    if f"retrieved_{name}" not in results:
        raise LabelLost("infrastructure", "no calculation brought any output back")
    _check_ended_well(results[f"retrieved_{name}"].creator)
    missing = [port for port in ("output_parameters", "output_trajectory") if f"{port}_{name}" not in results]
    if missing:
        raise LabelLost("output_missing", f"the calculation ended well but left no {' and no '.join(missing)}")
    parameters = results[f"output_parameters_{name}"].get_dict()
    version, wanted = version_number(str(parameters.get("creator_version"))), settings["pw_version"]
    if version != wanted:
        raise LabelLost("other_version", f"pw.x {version or 'of no known version'} made it, the protocol says {wanted}")
    frame = _frame(configuration, settings, parameters, results[f"output_trajectory_{name}"])
    _check_caps(frame, settings["request"])
    return frame


def _check_ended_well(calculation: orm.CalcJobNode) -> None:
    """Raise LabelLost unless the calculation and the work chain that judged it both ended well."""
    if calculation.exit_status != 0:
        status = calculation.exit_status
        machine = status is None or status in INFRASTRUCTURE_STATUSES
        reason = REASONS.get(status or 0, "infrastructure" if machine else f"pw_exit_{status}")
        raise LabelLost(reason, told_end(calculation))
    judge = calculation.caller
    if judge is not None and judge.exit_status != 0:
        raise LabelLost("not_accepted", f"{judge.process_label} ended {judge.exit_status}: {judge.exit_message}")


def _frame(
    configuration: Configuration, settings: Mapping[str, Any], parameters: Mapping[str, Any], trajectory: Any
) -> LabelledFrame:
    try:
        stress = tensile_stress(trajectory.get_array("stress")[-1]) if settings["request"]["stress"] else None
        return LabelledFrame(
            configuration,
            float(parameters["energy"]),
            np.asarray(trajectory.get_array("forces"))[-1],
            stress,
            settings["protocol_hash"],
        )
    except (FrameError, PwOutputError, KeyError, TypeError) as error:
        raise LabelLost("label_incomplete", f"{type(error).__name__}: {error}") from error


def _check_caps(frame: LabelledFrame, request: Mapping[str, Any]) -> None:
    force = float(np.linalg.norm(frame.forces, axis=1).max())
    if force > request["max_force"]:
        raise LabelLost("force_cap", f"a force of {force:.1f} eV/Å, the cap is {request['max_force']}")
    if frame.stress is not None:
        pressure = abs(float(np.trace(frame.stress))) / 3 / GPA
        if pressure > request["max_pressure"]:
            raise LabelLost("pressure_cap", f"a pressure of {pressure:.0f} GPa, the cap is {request['max_pressure']}")
