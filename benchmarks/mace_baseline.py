"""A small MACE on the project's own labels: same frames, same split, same time on one core as potentials.py.

MACE (Batatia et al., NeurIPS 2022; package mace-torch, not a dependency): 2 layers, 32x0e + 32x1o, correlation 3, l up
to 3, cutoff 5 Å, float32; AdamW with amsgrad, rate 0.01, exponential moving average 0.99, batches of 8; its loss is

    (E / n)^2 + 10 F^2 + 10 stress^2        in eV, Å;

the rate falls with the time as half a cosine. Energies are over those of the free atoms among the frames, subtracted
in float64, since float32 does not resolve total energies. The figures are added to results/potentials.json.

    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python benchmarks/mace_baseline.py --budget 20 --core 0   # e3nn needs it
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from e3nn import o3
from mace import data, modules
from mace.tools import AtomicNumberTable, torch_geometric
from potentials import Frames, by_source, load, own, save

NUMBERS = tuple(range(1, 19))
CUTOFF = 5.0
CHANNELS = 32
BATCH = 8
RATE = 0.01
AVERAGE = 0.99


def atomic_energies(atoms: Frames) -> dict[int, float]:
    """eV of the free atoms."""
    return {int(frame.numbers[0]): frame.get_potential_energy() for frame in atoms}


def binding_energy(frame: ase.Atoms, atomic: dict[int, float]) -> float:
    """eV over the free atoms."""
    return float(frame.get_potential_energy() - sum(atomic[int(z)] for z in frame.numbers))


def graphs(frames: Frames, atomic: dict[int, float]) -> list[Any]:
    """What MACE trains on."""
    table, found = AtomicNumberTable(list(NUMBERS)), []
    for frame in frames:
        copy = ase.Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)
        copy.info |= {"E": binding_energy(frame, atomic), "S": frame.get_stress(voigt=False)}
        copy.arrays["F"] = frame.get_forces()
        keys = data.KeySpecification({"energy": "E", "stress": "S"}, {"forces": "F"})
        found.append(data.AtomicData.from_config(data.config_from_atoms(copy, keys), table, CUTOFF))
    return found


def network(frames: Frames, train: list[Any]) -> torch.nn.Module:
    """Random weights, with the scale of these forces."""
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    forces = np.concatenate([frame.get_forces() for frame in frames])
    edges = sum(one.edge_index.shape[1] for one in train) / sum(one.num_nodes for one in train)
    torch.manual_seed(1)
    made: torch.nn.Module = modules.ScaleShiftMACE(
        r_max=CUTOFF, num_bessel=8, num_polynomial_cutoff=5, max_ell=3, interaction_cls=block,
        interaction_cls_first=block, num_interactions=2, num_elements=len(NUMBERS),
        hidden_irreps=o3.Irreps(f"{CHANNELS}x0e + {CHANNELS}x1o"), MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(NUMBERS)), avg_num_neighbors=float(edges), atomic_numbers=list(NUMBERS),
        correlation=3, gate=torch.nn.functional.silu, atomic_inter_scale=float(np.sqrt(np.mean(forces**2))),
        atomic_inter_shift=0.0,
    )  # fmt: skip
    return made


def loss_of(model: torch.nn.Module, batch: Any) -> torch.Tensor:
    """The loss of the head of this file."""
    found = model(batch.to_dict(), training=True, compute_force=True, compute_stress=True)
    sizes = (batch.ptr[1:] - batch.ptr[:-1]).to(found["energy"].dtype)
    energy = ((found["energy"] - batch.energy) / sizes).square().mean()
    forces, stress = (found[name] - batch[name] for name in ("forces", "stress"))
    return energy + 10 * forces.square().mean() + 10 * stress.square().mean()


def trained(model: torch.nn.Module, train: list[Any], seconds: float) -> tuple[torch.nn.Module, int]:
    """The averaged weights after so many seconds, and how many steps those were."""
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE)
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, amsgrad=True)
    loader = torch_geometric.dataloader.DataLoader(train, batch_size=BATCH, shuffle=True, drop_last=False)
    began, steps = time.monotonic(), 0
    while True:
        for batch in loader:
            done = (time.monotonic() - began) / seconds
            if done >= 1:
                return averaged.module, steps
            for group in optimiser.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * done))
            optimiser.zero_grad(set_to_none=True)
            loss_of(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            averaged.update_parameters(model)
            steps += 1


def judged(model: torch.nn.Module, frames: Frames, atomic: dict[int, float]) -> dict[str, dict[str, float]]:
    """Errors on frames that were never seen, as `argonaut evaluate` counts them."""
    energy, force, size = [], [], []
    for frame, one in zip(frames, graphs(frames, atomic), strict=True):
        batch = next(iter(torch_geometric.dataloader.DataLoader([one], batch_size=1)))
        found = model(batch.to_dict(), compute_force=True)
        energy.append(1e3 * (float(found["energy"]) - binding_energy(frame, atomic)) / len(frame))
        force.append(1e3 * (found["forces"].detach().numpy() - frame.get_forces()).ravel())
        size.append(len(frame))
    told = {"energy_mev_per_atom": np.array(energy), "force_mev_per_angstrom": np.concatenate(force)}
    return {
        name: {"mae": float(np.abs(off).mean()), "rmse": float(np.sqrt(np.mean(off**2)))} for name, off in told.items()
    }


def main() -> None:
    """Train, judge and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=20.0, help="minutes")
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    given, test, _, _ = own(Path())
    free, train = by_source(given)
    atomic = atomic_energies(free)
    made = graphs(train, atomic)
    model = network(train, made)
    best, steps = trained(model, made, 60 * options.budget)
    one = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "steps": steps,
        "seconds": 60 * options.budget,
        "atoms_per_frame": round(float(np.mean([len(frame) for frame in test])), 2),
        **judged(best, test, atomic),
    }
    print(json.dumps(one))
    save({**load(), f"own:mace:{options.budget:g}m": one})


if __name__ == "__main__":
    main()
