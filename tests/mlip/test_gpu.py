"""A GPU says what the CPU says, to rounding: evaluation, training, dynamics."""

import ase.build
import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.dataset import Dataset
from aiida_argonaut.mlip.exploration import ExplorationSettings, explore
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame
from aiida_argonaut.mlip.potential import architecture_names, evaluate, get_architecture
from aiida_argonaut.mlip.training import TrainSettings, train_committee

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = "cuda"
BASELINE = Baseline(tuple((z, -10.0 * z) for z in range(1, 19)), scale=1.5)


def cells(n=4, seed=0):
    """Random cells of H-Ar, dense enough for the repulsion, and a molecule."""
    random = np.random.default_rng(seed)
    made = [Configuration(random.integers(1, 19, 8), random.random((8, 3)) * 5, np.eye(3) * 5) for _ in range(n)]
    return [*made, Configuration([8, 1], np.array([[0.0, 0, 0], [0, 0, 1.0]]), np.zeros((3, 3)), (False,) * 3)]


def argon(n=12):
    """Labelled frames of rattled argon."""
    random, frames = np.random.default_rng(1), []
    for _ in range(n):
        atoms = ase.build.bulk("Ar", "fcc", a=5.0 + random.random(), cubic=True)
        atoms.positions += 0.25 * random.normal(size=(4, 3))
        atoms.calc = LennardJones(epsilon=0.1, sigma=3.4, rc=9.0)
        label = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
        frames.append(LabelledFrame(Configuration.from_atoms(atoms), *label, "lj"))
    return Dataset(tuple(frames))


@pytest.mark.parametrize(
    ("name", "preset"), [(name, preset) for name in architecture_names() for preset in get_architecture(name).presets]
)
def test_every_architecture_is_the_same_there(name, preset):
    architecture = get_architecture(name)
    config = architecture.preset(preset)
    members = (architecture.init(config, torch.Generator().manual_seed(0)),)
    here = Committee(architecture, preset, config, BASELINE, members).to(dtype=torch.float64)
    there = here.to(DEVICE)
    found, expected = (
        evaluate(architecture, config, one.members[0], BASELINE, one.build_graph(cells())) for one in (there, here)
    )
    for part, whole in zip(found, expected, strict=True):
        if whole is not None:
            assert part.device.type == DEVICE
            assert torch.allclose(part.cpu(), whole, rtol=1e-9, atol=1e-8)


def test_training_is_the_same_there():
    settings = TrainSettings(steps=20, records=4, compile="no")
    here, there = (train_committee(argon(), settings=settings, device=device) for device in ("cpu", DEVICE))
    for name, weight in here.members[0].items():
        assert torch.allclose(there.members[0][name], weight, rtol=1e-2, atol=1e-3), name
    first, second = (one.metrics[-1]["validation_loss"] for one in (here, there))
    assert second == pytest.approx(first, rel=1e-2)


def test_dynamics_are_the_same_there():
    committee = train_committee(argon(), settings=TrainSettings(steps=20, records=2), n_members=2)
    starts = [frame.configuration for frame in argon(4).frames]
    settings = ExplorationSettings(steps=20, min_steps=20, sample_interval=10)
    here, there = (
        [
            frame
            for walk in explore(committee.to(device, torch.float64), starts, settings, 1e3, 3)
            for frame in walk.frames
        ]
        for device in ("cpu", DEVICE)
    )
    assert len(here) == len(there) > 0
    for one, other in zip(here, there, strict=True):
        assert np.allclose(one.configuration.positions, other.configuration.positions, atol=1e-6)
