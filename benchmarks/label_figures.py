"""Figures by which a finished label is judged, over all labels of a profile: where the caps may stand.

Reads what pw.x left in the profile, nothing is run: energy per atom against the free pseudo-atoms, -TS per atom, the
correction of the forces for incomplete self-consistency, net force, largest force, pressure, of every calculation that
ended well with nominal settings. Ranges are told of labels within the caps of `fast` on force and pressure, and of free
atoms. Results are kept in results/label_figures.json.

    python benchmarks/label_figures.py --profile argonaut       # the profile in which own_labels.yaml was labelled
    python benchmarks/label_figures.py --table
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from aiida import load_profile, orm
from aiida.orm import CalcJobNode

from aiida_argonaut.dft_inputs.label_sanity import label_figures, scf_force_correction
from aiida_argonaut.dft_inputs.protocol import Protocol, load_protocol
from aiida_argonaut.dft_inputs.pw_output import tensile_stress
from aiida_argonaut.workflows.pw_failures import stdout_of
from aiida_argonaut.workflows.pw_results import pseudo_atom_energies

RESULTS = Path(__file__).parent / "results" / "label_figures.json"
SHOWN = {
    "energy_per_atom_eV": "energy, eV/atom", "smearing_eV_per_atom": "-TS, eV/atom",
    "force_correction_eV_per_A": "SCF correction, eV/Å", "net_force_eV_per_A": "net force, eV/Å",
    "max_force_eV_per_A": "force, eV/Å", "pressure_GPa": "pressure, GPa",
}  # fmt: skip


def calculations() -> list[CalcJobNode]:
    """The last calculation of every structure that ended well, of label work chains and their rescues."""
    callers = orm.QueryBuilder().append(
        orm.WorkChainNode,
        filters={"attributes.process_label": {"in": ["LabelPwWorkChain", "RescuePwWorkChain"]}},
        tag="chain",
    )
    callers.append(CalcJobNode, with_incoming="chain", filters={"attributes.exit_status": 0})
    found = {node.inputs.structure.uuid: node for node in sorted(callers.all(flat=True), key=lambda node: node.pk)}
    return list(found.values())


def figures(calculation: CalcJobNode) -> dict[str, Any]:
    """Formula, whether it is a free atom, and the figures of dft_inputs/label_sanity.py, rounded."""
    structure = calculation.inputs.structure.get_ase()
    parameters = calculation.outputs.output_parameters.get_dict()
    trajectory = calculation.outputs.output_trajectory
    found = label_figures(
        parameters["energy"],
        trajectory.get_array("forces")[-1],
        tensile_stress(trajectory.get_array("stress")[-1]),
        structure.get_chemical_symbols(),
        smearing_energy=parameters.get("energy_smearing"),
        force_correction=scf_force_correction(stdout_of(calculation)),
        reference_energies=pseudo_atom_energies(calculation.inputs.pseudos),
    )
    free = bool(len(structure) == 1 and structure.get_volume() > 900.0)
    return {"formula": str(structure.symbols), "free_atom": free} | {key: float(f"{found[key]:.4g}") for key in SHOWN}


def within(label: dict[str, Any], protocol: Protocol) -> bool:
    """Whether force and pressure are below the caps."""
    return bool(
        label["max_force_eV_per_A"] <= protocol.max_force and abs(label["pressure_GPa"]) <= protocol.max_pressure
    )


def table(labels: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: cells within the caps on force and pressure, cells beyond them, free atoms."""
    protocol = load_protocol("fast")
    cells = [label for label in labels if not label["free_atom"]]
    rows = {
        "cells, force and pressure within the caps": [label for label in cells if within(label, protocol)],
        "cells beyond": [label for label in cells if not within(label, protocol)],
        "free atoms": [label for label in labels if label["free_atom"]],
    }
    lines = [f"| | labels | {' | '.join(SHOWN.values())} |", "|---" * (2 + len(SHOWN)) + "|"]
    for name, found in rows.items():
        spans = (f"{min(x[key] for x in found):.3g} to {max(x[key] for x in found):.3g}" for key in SHOWN)
        lines.append(f"| {name} | {len(found)} | {' | '.join(spans)} |")
    return lines


def main() -> None:
    """Read the profile and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile")
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    if not options.table:
        load_profile(options.profile)
        rows = ",\n".join(f" {json.dumps(figures(node))}" for node in calculations())
        RESULTS.write_text(f"[\n{rows}\n]\n")
    print("\n".join(table(json.loads(RESULTS.read_text()))))


if __name__ == "__main__":
    main()
