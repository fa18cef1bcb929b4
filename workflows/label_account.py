"""What became of structures that were labelled without a campaign: the account, and the files that tell of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiida import orm

from ..dft_inputs.protocol import load_protocol
from ..mlip.cli.label_output import FORMAT
from ..mlip.extxyz import write_atoms
from ..mlip.labelling import account, loss_document
from .endings import told_end
from .label_structures import GIVEN, places_of
from .pw_results import pseudo_atom_energies
from .reference_atoms import atom_energies

UNITS = {
    "energy": "eV per cell, free energy E - TS of the smeared electrons",
    "forces": "eV/Å",
    "stress": "eV/Å^3, tensile positive",
    "reference_atoms": "eV, isolated atoms labelled by the same protocol; not subtracted from the labels",
    "reference_energies": "eV, spherical pseudo-atom without spin polarisation; not subtracted from the labels",
}


def summary_of_protocol(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of the labels, and how the request differs from the shipped protocol."""
    request = settings["request"]
    shipped = asdict(load_protocol(request["stringency"]))
    changes = {key: request[key] for key in shipped if key != "name" and request.get(key) not in (None, shipped[key])}
    return {
        "made_by": {
            "protocol": request["name"],
            "changes": changes,
            "elements": settings["elements"],
            "cutoffs_Ry": settings["cutoffs"],
            "family": settings["family"],
            "pw_version": settings["pw_version"],
        },
        "protocol_hash": settings["protocol_hash"],
        "protocol": settings["protocol"],
    }


def account_of(node: orm.WorkChainNode) -> dict[str, Any]:
    """What became of every structure of a finished work chain: submitted = ok + rescued + lost."""
    settings, places = node.inputs.settings.get_dict(), places_of(node.inputs.configurations)
    told = node.outputs.losses.get_dict() if "losses" in node.outputs else _all_lost(node)

    def placed(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {**entry, GIVEN: list(places.get(entry["configuration_id"], ()))}

    return {
        "format": FORMAT,
        "work_chain": {"pk": node.pk, "uuid": node.uuid},
        **told,
        "rescued": [placed(entry) for entry in told.get("rescued", [])],
        "lost": [placed(entry) for entry in told["lost"]],
        "given_more_than_once": [list(each) for each in places.values() if len(each) > 1],
        **summary_of_protocol(settings),
        "units": UNITS,
        "reference": settings["reference"],
        "reference_atoms": _reference_atoms(node),
        "reference_energies": _reference_energies(node, settings),
    }


def _all_lost(node: orm.WorkChainNode) -> dict[str, Any]:
    """The account of a work chain that ended without one: the machine failed, and chemistry had no part in it."""
    configurations = node.inputs.configurations.configurations()
    lost = [loss_document(each, "infrastructure", told_end(node)) for each in configurations]
    return account(configurations, [], [], lost)


def _reference_atoms(node: orm.WorkChainNode) -> dict[str, float]:
    """Of the isolated atoms among the labels."""
    return atom_energies(node.outputs.labels.dataset().frames) if "labels" in node.outputs else {}


def _reference_energies(node: orm.WorkChainNode, settings: Mapping[str, Any]) -> dict[str, float] | None:
    """Of the embedded family; of others nothing is known but the labels themselves."""
    if settings["reference"] != "pseudo_atoms":
        return None
    pseudos = node.inputs.pseudos
    return pseudo_atom_energies({symbol: pseudos[symbol] for symbol in pseudos})


def write_results(node: orm.WorkChainNode, output: Path, losses: Path) -> dict[str, Any]:
    """Write labelled frames in the order given (nothing, if all were lost) and the account beside them.

    :returns: the account.
    """
    document = account_of(node)
    if "labels" in node.outputs:
        places = places_of(node.inputs.configurations)
        rank = {name: position for position, name in enumerate(places)}
        frames = sorted(
            node.outputs.labels.dataset().frames, key=lambda frame: rank[frame.configuration.configuration_id]
        )
        labelled = []
        for frame in frames:
            atoms = frame.to_atoms()
            for place in places[frame.configuration.configuration_id][:1]:
                atoms.info[GIVEN] = place
            labelled.append(atoms)
        write_atoms(output, labelled)
    losses.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return document
