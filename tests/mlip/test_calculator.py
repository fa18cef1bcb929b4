"""The calculator as ASE users meet it."""

import ase
import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.calculator import CommitteeCalculator
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.frames import FrameError
from aiida_argonaut.mlip.potential import get_architecture


@pytest.fixture
def model(tmp_path):
    architecture = get_architecture("teanet")
    config = architecture.preset("campaign")
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(2))
    baseline = Baseline(((1, -13.0), (8, -430.0)), scale=3.0)
    Committee(architecture, "campaign", config, baseline, members).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def atoms(model):
    positions = np.array([[0.1, 0.2, 0.3], [0.9, 0.4, 0.2], [0.2, 1.2, 1.9]])
    atoms = ase.Atoms("OH2", positions=positions, cell=[[3.1, 0.2, 0], [0, 3.4, 0.3], [0.1, 0, 3.9]], pbc=True)
    atoms.calc = CommitteeCalculator(model)
    return atoms


def test_forces_and_stress_are_those_of_the_energy(atoms):
    forces, stress = atoms.get_forces(), atoms.get_stress()
    assert np.abs(forces - calculate_numerical_forces(atoms, eps=1e-5)).max() < 1e-6
    assert np.abs(stress - calculate_numerical_stress(atoms, eps=1e-5)).max() < 1e-6


def test_results_hold_the_deviation(atoms):
    energy = atoms.get_potential_energy()
    assert energy == atoms.get_potential_energy(force_consistent=True)
    assert atoms.calc.results["force_deviation"].shape == (3,)
    assert atoms.calc.results["force_deviation"].min() > 0
    assert atoms.calc.results["energy_deviation"] > 0


def test_molecules_have_no_stress(atoms):
    atoms.pbc = False
    assert np.isfinite(atoms.get_forces()).all()
    assert "stress" not in atoms.calc.results


def test_bad_input_is_refused(atoms):
    atoms.pbc = (True, True, False)
    with pytest.raises(FrameError, match="all three directions or in none"):
        atoms.get_potential_energy()
    atoms.pbc = True
    atoms.numbers[0] = 14
    with pytest.raises(FrameError, match="does not know Si"):
        atoms.get_potential_energy()
