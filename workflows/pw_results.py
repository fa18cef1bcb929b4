"""Between configurations and pw.x: what is asked, and what the answers are worth.

Every configuration leaves as a labelled frame or as a loss with a reason. Reasons: see REASONS and `REFUSALS`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from ase.data import chemical_symbols

from ..dft_inputs.kpoints import kpoint_mesh
from ..dft_inputs.label_sanity import first_problem, label_figures, scf_force_correction
from ..dft_inputs.protocol import Protocol, pw_parameters
from ..dft_inputs.pseudos.upf import header
from ..dft_inputs.pw_output import PwOutputError, tensile_stress, version_number
from ..dft_inputs.reference_atoms import MESH, judged_by, reference_atom
from ..dft_inputs.rescue import off_nominal
from ..mlip.frames import Configuration, FrameError, LabelledFrame
from ..mlip.labelling import account, loss_document, rescue_document
from ..mlip.sanity import distance_ratio
from ..mlip.units import RYDBERG
from ..provenance_db.queries import NOT_SUBMITTED
from .endings import told_end
from .pw_failures import INFRASTRUCTURE_STATUSES, bands_run_out, outputs_of, printed
from .pw_rescue import RESCUE, rung_of
from .reference_atoms import is_reference_atom
from .scf_monitor import MONITOR

OF_WALL_TIME = 0.95
"""Share of the queue's wall time after which pw.x ends by itself, in a state from which it can go on."""

REASONS = {
    110: "out_of_memory", 120: "out_of_walltime", 400: "out_of_walltime",
    150: "scf_not_converged", 410: "scf_not_converged", 461: "bands_not_converged", 462: "cholesky",
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

    def __init__(self, reason: str, message: str, figures: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.reason, self.figures = reason, figures


def label_name(index: int) -> str:
    """Name of the label of configuration `index` of a shard, in links and reports."""
    return f"label_{index:03d}"


def pw_inputs(configurations: Sequence[Configuration], settings: Mapping[str, Any]) -> dict[str, Any]:
    """AiiDA nodes with all that pw.x is asked.

    :returns: `structures` by label name; `kpoints` and `parameters`, each kind of them once, by keys that `asked` has
        for each label; `gamma_settings` for cells with the one k point Gamma; `monitors` and `max_iterations`.
    """
    seconds = settings.get("options", {}).get("max_wallclock_seconds")
    structures: dict[str, orm.StructureData] = {}
    kpoints: dict[str, orm.KpointsData] = {}
    parameters: dict[str, orm.Dict] = {}
    asked: dict[str, dict[str, str]] = {}
    known: dict[str, str] = {}
    for index, configuration in enumerate(configurations):
        if _refusal(configuration, settings):
            continue
        name = label_name(index)
        structures[name] = orm.StructureData(ase=_plain_atoms(configuration))
        mesh, namelists = nominal(configuration, settings)
        mesh_key = "mesh_" + "_".join(map(str, mesh))
        if mesh_key not in kpoints:
            kpoints[mesh_key] = orm.KpointsData()
            kpoints[mesh_key].set_kpoints_mesh(list(mesh))
        if seconds:
            namelists["CONTROL"]["max_seconds"] = OF_WALL_TIME * seconds
        key = known.setdefault(json.dumps(namelists, sort_keys=True), f"parameters_{len(known):03d}")
        parameters.setdefault(key, orm.Dict(namelists))
        asked[name] = {"kpoints": mesh_key, "parameters": key}
    return {
        "structures": structures,
        "kpoints": kpoints,
        "parameters": parameters,
        "asked": orm.Dict(asked),
        "max_iterations": orm.Int(settings["max_iterations"]),
        "monitors": {"scf": orm.Dict(MONITOR)},
        "gamma_settings": orm.Dict({"gamma_only": True}),
    }


def nominal(
    configuration: Configuration, settings: Mapping[str, Any]
) -> tuple[tuple[int, int, int], dict[str, dict[str, Any]]]:
    """Mesh of k points and namelists by which a configuration is labelled; those of an isolated atom are its own."""
    protocol, cutoffs = Protocol(**settings["request"]), tuple(settings["cutoffs"])
    symbols = [chemical_symbols[z] for z in configuration.numbers]
    if is_reference_atom(configuration):
        return MESH, reference_atom(protocol, symbols[0], settings["elements"], cutoffs).parameters
    # files are kept for the XML, from which aiida-quantumespresso takes bands, occupations and the version
    namelists = pw_parameters(protocol, settings["elements"], symbols, cutoffs, keep_files=True)
    return kpoint_mesh(configuration.cell, protocol.kpoints_spacing), namelists


def collect(
    configurations: Sequence[Configuration], settings: Mapping[str, Any], results: Mapping[str, orm.Data]
) -> tuple[list[LabelledFrame], dict[str, Any]]:
    """Labelled frames, and the account of losses.

    :param results: by label name one output of its last pw.x calculation, beside which the others are read;
        `structure_<label>` of those that were never submitted.
    :returns: frames, and the account (see mlip.labelling).
    """
    frames: list[LabelledFrame] = []
    ok: list[str] = []
    rescued, lost = [], []
    for index, configuration in enumerate(configurations):
        try:
            frame, judge = _label(configuration, settings, results, label_name(index))
        except LabelLost as loss:
            lost.append(loss_document(configuration, loss.reason, str(loss), loss.figures))
            continue
        frames.append(frame)
        if judge is None:
            ok.append(configuration.configuration_id)
        else:
            rescued.append(rescue_document(configuration, rung_of(judge)))
    return frames, account(configurations, ok, rescued, lost)


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
) -> tuple[LabelledFrame, orm.WorkChainNode | None]:
    """The label, and the rescue that made it."""
    refusal = _refusal(configuration, settings)
    if refusal is not None:
        raise refusal
    if f"{UNSUBMITTED}_{name}" in results:
        raise LabelLost(NOT_SUBMITTED, "the campaign came to a limit first")
    if name not in results:
        raise LabelLost("infrastructure", "no calculation brought any output back")
    calculation = results[name].creator
    judge, outputs = _judge(calculation), outputs_of(calculation)
    _check_ended_well(calculation, judge, outputs, nominal(configuration, settings)[1])
    missing = [port for port in ("retrieved", "output_parameters", "output_trajectory") if port not in outputs]
    if missing:
        raise LabelLost("output_missing", f"the calculation ended well but left no {' and no '.join(missing)}")
    parameters = outputs["output_parameters"].get_dict()
    version, wanted = version_number(str(parameters.get("creator_version"))), settings["pw_version"]
    if version != wanted:
        raise LabelLost("other_version", f"pw.x {version or 'of no known version'} made it, the protocol says {wanted}")
    trajectory = outputs["output_trajectory"]
    _check_sanity(configuration, settings, parameters, trajectory, printed(calculation, outputs))
    return _frame(configuration, settings, parameters, trajectory), judge


def _judge(calculation: orm.CalcJobNode) -> orm.WorkChainNode | None:
    """The rescue that a calculation belongs to; None for a first calculation."""
    caller = calculation.caller
    return caller if isinstance(caller, orm.WorkChainNode) and caller.process_type == RESCUE else None


def _check_ended_well(
    calculation: orm.CalcJobNode, judge: orm.WorkChainNode | None, outputs: Mapping[str, Any],
    asked: Mapping[str, Mapping[str, Any]],
) -> None:  # fmt: skip
    """Raise LabelLost unless the calculation ended well, with the nominal namelists, and its rescue accepted it."""
    if calculation.exit_status != 0:
        status = calculation.exit_status
        machine = status is None or status in INFRASTRUCTURE_STATUSES
        reason = REASONS.get(status or 0, "infrastructure" if machine else f"pw_exit_{status}")
        raise LabelLost(reason, told_end(calculation))
    if judge is not None and judge.exit_status != 0:
        raise LabelLost("not_accepted", f"{judge.process_label} ended {judge.exit_status}: {judge.exit_message}")
    if bands_run_out(calculation, outputs):
        raise LabelLost("bands_run_out", "its highest band is occupied")
    different = off_nominal(asked, calculation.inputs.parameters.get_dict())
    if different:
        raise LabelLost("not_nominal", "; ".join(different))


def _check_sanity(
    configuration: Configuration, settings: Mapping[str, Any], parameters: Mapping[str, Any], trajectory: Any,
    stdout: str,
) -> None:  # fmt: skip
    """Raise LabelLost, with its figures, for a label that is finished but not to be believed."""
    arrays = set(trajectory.get_arraynames())
    symbols = [chemical_symbols[z] for z in configuration.numbers]
    energy, smearing = parameters.get("energy"), parameters.get("energy_smearing")
    accuracy = float(trajectory.get_array("scf_accuracy").ravel()[-1]) if "scf_accuracy" in arrays else None
    forces = trajectory.get_array("forces")[-1] if "forces" in arrays else None
    try:
        stress = tensile_stress(trajectory.get_array("stress")[-1]) if "stress" in arrays else None
    except PwOutputError as error:
        raise LabelLost("label_incomplete", str(error)) from error
    figures = {
        "smearing_energy": smearing,
        "force_correction": scf_force_correction(stdout),
        "reference_energies": settings.get("atom_energies"),
    }
    protocol = Protocol(**settings["request"])
    protocol = judged_by(protocol) if is_reference_atom(configuration) else protocol
    problem = first_problem(protocol, symbols, energy, forces, stress, scf_accuracy=accuracy, **figures)
    if problem is not None:
        raise LabelLost(*problem, label_figures(energy, forces, stress, symbols, **figures))


def _frame(
    configuration: Configuration, settings: Mapping[str, Any], parameters: Mapping[str, Any], trajectory: Any
) -> LabelledFrame:
    stress = tensile_stress(trajectory.get_array("stress")[-1]) if settings["request"]["stress"] else None
    try:
        return LabelledFrame(
            configuration,
            float(parameters["energy"]),
            np.asarray(trajectory.get_array("forces"))[-1],
            stress,
            settings["protocol_hash"],
        )
    except FrameError as error:
        raise LabelLost("label_incomplete", f"{type(error).__name__}: {error}") from error
