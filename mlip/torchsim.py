"""The committee as a model of TorchSim (torch-sim-atomistic), for its batched integrators, optimisers and autobatching.

TorchSim is no dependency: `pip install torch-sim-atomistic`. Its conventions (0.3, `torch_sim.models.interface`): a
state holds all atoms of all systems in flat tensors; `cell` has lattice vectors in *columns*; one `pbc` for all
systems; the stress is positive under tension, as here. All systems share one list of bonds with a skin: it is made anew
where an atom has moved by half of it, where a cell changes, and where other systems come into the batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .bond_list import BondList, Structures
from .committee import Committee, dtype_of
from .frames import FrameError
from .graph import device_of

if TYPE_CHECKING:
    ModelInterface = torch.nn.Module
else:
    try:
        from torch_sim.models.interface import ModelInterface
    except ImportError as error:  # also where a package that it needs itself is missing
        ModelInterface, MISSING = torch.nn.Module, str(error)

SKIN = 0.5
"""Å, reach of the list of bonds beyond the cutoff."""


class TorchSimModel(ModelInterface):
    """TorchSim's `ModelInterface` on a model folder: mean of the members, with their deviations.

    :param model: folder, or a Committee.
    :param device: auto, cpu, cuda or cuda:N; a torch.device is welcome.
    :param dtype: of the network, and of the forces and stresses given back; float32 or float64, text or torch's.
    :param skin: Å, see bond_list.py.

    Raises FrameError, a ValueError, for elements the model does not know and for what `Configuration` refuses, and
    ImportError without TorchSim.
    """

    def __init__(
        self,
        model: str | Path | Committee,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float64",
        *,
        compute_forces: bool = True,
        compute_stress: bool = True,
        skin: float = SKIN,
    ) -> None:
        if ModelInterface is torch.nn.Module and not TYPE_CHECKING:
            raise ImportError(f"TorchSim cannot be imported ({MISSING}); `pip install torch-sim-atomistic`")
        super().__init__()
        self._device, self._dtype = device_of(device), dtype_of(dtype)
        self._compute_forces, self._compute_stress = compute_forces, compute_stress
        self._memory_scales_with = "n_atoms_x_density"
        if isinstance(model, Committee):
            self.committee = model.to(self._device, self._dtype)
        else:
            self.committee = Committee.load(model, self._device, self._dtype)
        self.bonds = BondList(self.committee, skin)

    @property
    def compute_forces(self) -> bool:
        """Whether forces are among the results."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, wanted: bool) -> None:
        """Whether forces are wanted."""
        self._compute_forces = wanted

    @property
    def compute_stress(self) -> bool:
        """Whether stresses are among the results."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, wanted: bool) -> None:
        """Whether stresses are wanted."""
        self._compute_stress = wanted

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Energy (g,) eV and, if wanted, forces (n, 3) eV/Å and stress (g, 3, 3) eV/Å^3 of g systems of n atoms.

        Also energy_deviation (g,) eV, and force_deviation (n,) eV/Å beside the forces. The energy is float64 whatever
        the network computes in. Systems that are not periodic have no stress: theirs is zero.

        :param state: a SimState, or a dict with positions, cell, atomic_numbers and, if periodic, pbc=True; without
            system_idx all atoms are one system.
        """
        graph = self.bonds.graph(_structures(state))
        output = self.committee.evaluate(graph, stress=self.compute_stress)
        results = {"energy": output.energy.mean(0), "energy_deviation": output.energy.std(0, correction=0)}
        if self.compute_forces:
            results |= {"forces": output.forces.mean(0), "force_deviation": output.force_deviation()}
        if output.stress is not None:
            results["stress"] = output.stress.mean(0)
        return results


def _structures(state: Any) -> Structures:
    """What a SimState or a dict of its tensors holds, lattice vectors in rows."""
    given = state if isinstance(state, dict) else vars(state)
    positions, index = given["positions"].detach().double(), given.get("system_idx")
    if not len(positions):
        raise FrameError("the state holds no atoms; a calculation needs at least one")
    cells = given["cell"].detach().double().reshape(-1, 3, 3).mT
    owner = np.zeros(len(positions), dtype=np.int64) if index is None else index.cpu().numpy()
    if (np.diff(owner) < 0).any() or owner.max() + 1 != len(cells):
        raise FrameError(f"system_idx up to {owner.max()} with {len(cells)} cells: expected 0, 0 ... 1, 1 ... in order")
    periodic = np.broadcast_to(np.asarray(torch.as_tensor(given.get("pbc", False)).cpu()), (len(cells),)).copy()
    return Structures(
        given["atomic_numbers"].cpu().numpy().astype(np.int64),
        positions,
        torch.where(torch.tensor(periodic, device=cells.device)[:, None, None], cells, 0.0),
        periodic,
        np.bincount(owner, minlength=len(cells)),
    )
