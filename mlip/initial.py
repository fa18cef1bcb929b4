"""Where a fine-tune starts: weights of an existing committee, and reference energies moved to what new labels mean.

Weights keep their meaning only with the hyperparameters and the scale they were trained with, so both stay. Reference
energies do not: another protocol has other energies of the free atom. Each one is shifted by the least squares that
explain what the committee's mean leaves of the new energies; where the compositions do not decide, equal shifts for all
atoms are nearest, so that a narrow set of frames does not undo what the committee knows of other compositions. All of
it follows from the whole committee and the data, so that members fine-tuned one by one still make one committee. Where
members differ in architecture, a fine-tune has that of the member it starts with, and goes on with others like it.

Validation frames that the initial model was trained on, as when a data set has grown since, flatter it: judge such a
fine-tune on frames that neither has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .baseline import fit_reference_energies
from .committee import MAX_BONDS, Committee
from .frames import LabelledFrame
from .graph import build_graph, join, split_by_bonds
from .potential import Parameters

DECIMALS = 6
"""Of reference energies in eV: members trained on different machines must agree on them exactly."""


@dataclass(frozen=True)
class Initial:
    """A committee to start from, and with which of its members."""

    committee: Committee
    """Its members counted from `member` on, so that its architecture, preset and config are that member's."""
    content: str
    """sha256 of its model.safetensors."""
    member: int = 0
    """The first member trained starts from this one, the next from the next like it; after the last the first."""

    @classmethod
    def load(cls, folder: str | Path, member: int = 0) -> Initial:
        """From a model folder; raises CommitteeError as Committee.load does, ValueError for a negative member."""
        if member < 0:
            raise ValueError(f"initial member {member}: expected 0 or more")
        committee = _counted_from(Committee.load(folder), member)
        return cls(committee, hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest(), member)

    def weights(self, index: int) -> Parameters:
        """What the trained member number `index` starts from, float32."""
        chosen = self.committee.members[self._start(index)]
        return {name: weight.to("cpu", torch.float32) for name, weight in chosen.items()}

    def document(self, index: int) -> dict[str, Any]:
        """What the trained member number `index` started from, for its card and its checkpoint."""
        return {"content": self.content, "member": (self.member + self._start(index)) % self.committee.n_members}

    def _start(self, index: int) -> int:
        networks = self.committee.networks
        alike = [k for k, network in enumerate(networks) if network == networks[0]]
        return alike[index % len(alike)]


def _counted_from(committee: Committee, first: int) -> Committee:
    order = [(first + k) % committee.n_members for k in range(committee.n_members)]
    networks = tuple(committee.networks[k] for k in order)
    members = tuple(committee.members[k] for k in order)
    return Committee(*networks[0], committee.baseline, members, networks=networks)


def shifted_energies(
    committee: Committee, frames: Sequence[LabelledFrame], repulsion: Sequence[float]
) -> dict[int, float]:
    """Atomic number -> eV for all elements of committee and frames; `repulsion`: eV per frame."""
    own = dict(committee.baseline.reference_energies)
    start = {**dict(fit_reference_energies(frames, repulsion)), **own}
    known = np.array(repulsion) + network_energies(committee, frames)
    known += [sum(start[int(z)] for z in frame.configuration.numbers) for frame in frames]
    shifts = dict(fit_reference_energies(frames, known.tolist()))
    return carried(own, {z: round(start[z] + shift, DECIMALS) for z, shift in shifts.items()})


def carried(own: Mapping[int, float], energies: Mapping[int, float]) -> dict[int, float]:
    """`energies`, and the other elements of `own` shifted as the shared ones are on average; eV per atomic number."""
    shared = [energies[z] - own[z] for z in own.keys() & energies.keys()]
    shift = float(np.mean(sorted(shared))) if shared else 0.0
    return {**{z: round(energy + shift, DECIMALS) for z, energy in own.items()}, **energies}


def network_energies(committee: Committee, frames: Sequence[LabelledFrame]) -> np.ndarray[Any, Any]:
    """(frames,) eV: what the networks add to the baseline, mean of the members, in float64 on the CPU."""
    double = committee.to("cpu", torch.float64)
    graphs = [build_graph([f.configuration], committee.cutoff, dtype=torch.float64) for f in frames]
    energies: list[float] = []
    for chunk in split_by_bonds([graph.n_bonds for graph in graphs], MAX_BONDS):
        graph = join([graphs[index] for index in chunk])
        with torch.no_grad():
            each = [
                architecture.energy(member, config, graph)
                for (architecture, _, config), member in zip(double.networks, double.members, strict=True)
            ]
        mean = torch.stack(each).sort(0).values.mean(0)  # to the last bit, whichever member is counted first
        energies += (committee.baseline.scale * mean).tolist()
    return np.array(energies)
