"""The committee as an ASE calculator: mean energy, forces and stress, and how far the members disagree.

ASE's `energies`, one per atom, are not among the results: a potential here gives the energy of a structure, of which
forces and stress are derivatives, and long-range or global terms belong to no atom (see potential.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes

from .bond_list import BondList, Structures
from .committee import Committee, dtype_of, force_deviation
from .extxyz import beyond_sense
from .frames import FrameError
from .graph import device_of

VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
SKIN = 0.5
"""Å, reach of the list of bonds beyond the cutoff: in a solid at room temperature it serves some ten steps or more."""


class CalculatorSetupError(FrameError):
    """Atoms that the calculator cannot take: says what is wrong with them and what to do."""


class CommitteeCalculator(Calculator):
    """ASE calculator on a model folder, for one member or many.

    `results` holds energy = free_energy (eV), forces (n, 3) eV/Å, stress (6,) eV/Å^3 in Voigt order with ASE's sign
    (periodic atoms only), force_deviation (n,) eV/Å and energy_deviation (eV); the deviations are zero for one member.

    :param model: folder, or a Committee.
    :param device: auto, cpu, cuda or cuda:N.
    :param dtype: float64, or float32, which is faster and conserves energy less well.
    :param skin: Å, see bond_list.py; 0 makes a fresh list of bonds for every step.

    Calculation raises CalculatorSetupError, a ValueError, without atoms, for elements the model does not know, for
    atoms periodic in some directions only, for a cell without volume or a very flat one, and for positions of NaN.
    """

    implemented_properties = (  # type: ignore[assignment]  # a list in ASE, which only ever reads it
        "energy",
        "free_energy",
        "forces",
        "stress",
        "force_deviation",
        "energy_deviation",
    )

    def __init__(
        self,
        model: str | Path | Committee,
        device: torch.device | str = "cpu",
        dtype: str = "float64",
        skin: float = SKIN,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        if isinstance(model, Committee):
            self.committee = model.to(device_of(device), dtype_of(dtype))
        else:
            self.committee = Committee.load(model, device, dtype)
        self.bonds = BondList(self.committee, skin)

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Everything at once."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # set by the line above
        structures = _structures(self.atoms, self.committee.device)
        try:
            graph = self.bonds.graph(structures)
        except FrameError as error:
            raise CalculatorSetupError(str(error)) from error
        output = self.committee.evaluate(graph, stress=bool(structures.periodic[0]))
        if "stress" in (properties or ()) and output.stress is None and structures.periodic[0]:
            raise CalculatorSetupError(
                "this model predicts forces of its own and has no stress; train one of a campaign preset"
            )
        forces = output.forces.double().cpu().numpy()
        energy = output.energy[:, 0].cpu().numpy()
        self.results = {
            "energy": float(energy.mean()),
            "free_energy": float(energy.mean()),
            "energy_deviation": float(energy.std()),
            "forces": forces.mean(0),
            "force_deviation": force_deviation(forces),
        }
        if output.stress is not None:
            self.results["stress"] = output.stress[:, 0].double().mean(0).cpu().numpy()[VOIGT]


def _structures(atoms: ase.Atoms, device: torch.device) -> Structures:
    """ASE atoms as one structure, with positions and cell to the last bit."""
    name, pbc = atoms.get_chemical_formula(), atoms.pbc.tolist()
    if not len(atoms):
        raise CalculatorSetupError("the Atoms hold no atoms; a calculation needs at least one")
    if len(set(pbc)) != 1:
        raise CalculatorSetupError(
            f"{name}: pbc {pbc}: periodic in all three directions or in none is supported; for a slab or a wire set "
            "atoms.pbc = True with a cell that holds enough vacuum"
        )
    if problem := beyond_sense(atoms):
        raise CalculatorSetupError(f"{name}: {problem}")
    cell = np.array(atoms.cell.array) if pbc[0] else np.zeros((3, 3))
    return Structures(
        atoms.numbers.astype(np.int64),
        torch.tensor(atoms.positions, dtype=torch.float64, device=device),
        torch.tensor(cell[None], dtype=torch.float64, device=device),
        np.array(pbc[:1]),
        np.array([len(atoms)]),
    )
