"""The adapter to TorchSim against the calculator, and TorchSim's own validator."""

import dataclasses

import ase.build
import numpy as np
import pytest
import torch
import torch_sim
from torch_sim.models.interface import ModelInterface, validate_model_outputs

from aiida_argonaut.mlip import torchsim
from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.calculator import CommitteeCalculator
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.frames import FrameError
from aiida_argonaut.mlip.potential import get_architecture


@pytest.fixture(scope="module")
def committee():
    architecture = get_architecture("teanet")
    config = dataclasses.replace(
        architecture.preset("campaign"), n_blocks=2, scalar_width=16, bond_width=8, vector_width=4, cutoff=4.0
    )
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(2))
    return Committee(architecture, "campaign", config, Baseline(((13, -50.0), (14, -100.0)), scale=1.0), members)


@pytest.fixture
def adapter(committee):
    return torchsim.TorchSimModel(committee)


def structures():
    """Two strained and rattled crystals in cells that are no symmetric matrices."""
    found = [ase.build.bulk("Si", cubic=True), ase.build.bulk("Al", cubic=True)]
    for seed, atoms in enumerate(found):
        strain = np.eye(3) + 0.05 * np.random.default_rng(seed).normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
    return found


def state(many, pbc=True):
    """The tensors of a SimState: lattice vectors in columns."""
    return {
        "positions": torch.tensor(np.concatenate([atoms.positions for atoms in many])),
        "cell": torch.tensor(np.array([atoms.cell.array.T for atoms in many])),
        "pbc": pbc,
        "atomic_numbers": torch.tensor(np.concatenate([atoms.numbers for atoms in many])),
        "system_idx": torch.repeat_interleave(torch.arange(len(many)), torch.tensor([len(a) for a in many])),
    }


def test_a_batch_is_what_the_calculator_says_of_each(adapter, committee):
    many = structures()
    output = adapter(state(many))
    forces = output["forces"].split([len(atoms) for atoms in many])
    for k, atoms in enumerate(many):
        atoms.calc = CommitteeCalculator(committee)
        assert float(output["energy"][k]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert np.abs(forces[k].numpy() - atoms.get_forces()).max() < 1e-9
        assert np.abs(atoms.get_stress()).max() > 1e-3
        assert np.abs(output["stress"][k].numpy() - atoms.get_stress(voigt=False)).max() < 1e-9


def test_systems_come_and_go(adapter):
    """What autobatching does: other systems in the same model, with the list of bonds that fits them."""
    many = structures()
    both = adapter(state(many))
    for k, atoms in enumerate(many):
        assert float(adapter(state([atoms]))["energy"][0]) == pytest.approx(float(both["energy"][k]), abs=1e-9)
    assert adapter.bonds.builds == 3
    adapter(state([many[1]]))
    assert adapter.bonds.builds == 3


def test_what_is_not_wanted_is_not_given(adapter):
    adapter.compute_stress, adapter.compute_forces = False, False
    assert set(adapter(state(structures()))) == {"energy", "energy_deviation"}


def test_molecules_have_no_stress(adapter):
    output = adapter(state(structures(), pbc=False))
    assert output["stress"].abs().max() == 0
    assert output["forces"].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["atomic_numbers"].__setitem__(0, 26), "does not know Fe"),
        (lambda s: s.update(system_idx=s["system_idx"].flip(0)), "expected 0, 0 ... 1, 1 ... in order"),
        (lambda s: s.update(positions=s["positions"][:0]), "no atoms"),
        (lambda s: s["positions"].__setitem__((0, 0), torch.nan), "NaN"),
    ],
)
def test_bad_states_are_refused(change, said, adapter):
    given = state(structures())
    change(given)
    with pytest.raises(FrameError, match=said):
        adapter(given)


def test_without_torchsim_it_says_what_is_missing(committee, monkeypatch):
    monkeypatch.setattr(torchsim, "ModelInterface", torch.nn.Module)
    monkeypatch.setattr(torchsim, "MISSING", "No module named 'torch_sim'", raising=False)
    with pytest.raises(ImportError, match="pip install torch-sim-atomistic"):
        torchsim.TorchSimModel(committee)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torchsim_validates_the_model(dtype, committee, monkeypatch):
    """Its own check of outputs, with its iron, which is beyond Ar, replaced by aluminium."""
    bulk = ase.build.bulk
    monkeypatch.setattr(ase.build, "bulk", lambda name, *a, **k: bulk("Al" if name == "Fe" else name, *a, **k))
    model = torchsim.TorchSimModel(committee, dtype=dtype)
    assert isinstance(model, ModelInterface)
    validate_model_outputs(model, torch.device("cpu"), dtype)


def test_torchsim_relaxes_cells(adapter):
    many = structures()
    before = adapter(state(many))["energy"]
    final = torch_sim.optimize(system=many, model=adapter, optimizer=torch_sim.frechet_cell_fire, max_steps=5)
    assert (final.energy < before).all()
