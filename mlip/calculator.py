"""The committee as an ASE calculator: mean energy, forces and stress, and how far the members disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes

from .committee import Committee, dtype_of
from .frames import Configuration
from .graph import device_of

VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


class CommitteeCalculator(Calculator):
    """ASE calculator on a model folder, for one member or many.

    `results` holds energy = free_energy (eV), forces (n, 3) eV/Å, stress (6,) eV/Å^3 in Voigt order (periodic atoms
    only), force_deviation (n,) eV/Å and energy_deviation (eV). Raises FrameError for elements the model does not know
    and for atoms periodic in some directions only.
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
        self, model: str | Path | Committee, device: torch.device | str = "cpu", dtype: str = "float64", **keywords: Any
    ) -> None:
        super().__init__(**keywords)
        if isinstance(model, Committee):
            self.committee = model.to(device_of(device), dtype_of(dtype))
        else:
            self.committee = Committee.load(model, device, dtype)

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Everything at once; the graph is built anew."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # set by the line above
        configuration = _exact(self.atoms)
        prediction = self.committee.predict([configuration], stress=configuration.periodic)[0]
        self.results = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "forces": prediction.forces,
            "force_deviation": prediction.force_deviation,
            "energy_deviation": prediction.energy_deviation,
        }
        if prediction.stress is not None:
            self.results["stress"] = prediction.stress[VOIGT]


def _exact(atoms: ase.Atoms) -> Configuration:
    """The configuration with positions and cell to the last bit: finite differences must not see the rounding."""
    configuration = Configuration.from_atoms(atoms)
    object.__setattr__(configuration, "positions", np.array(atoms.positions))
    object.__setattr__(configuration, "cell", np.array(atoms.cell.array))
    return configuration
