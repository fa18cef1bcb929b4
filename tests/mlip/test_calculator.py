"""The calculator as ASE users meet it."""

import dataclasses

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.calculator import CalculatorSetupError, CommitteeCalculator
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.frames import FrameError
from aiida_argonaut.mlip.model_files import merge_model_folders
from aiida_argonaut.mlip.potential import get_architecture


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A committee of two small random networks for H and O, on a strong baseline."""
    folder = tmp_path_factory.mktemp("model")
    architecture = get_architecture("teanet")
    config = dataclasses.replace(
        architecture.preset("campaign"), n_blocks=2, scalar_width=16, bond_width=8, vector_width=4, cutoff=4.0
    )
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(2))
    baseline = Baseline(((1, -13.0), (8, -430.0)), scale=1.0)
    Committee(architecture, "campaign", config, baseline, members).save(folder)
    return folder


def water(pbc=True):
    positions = np.array([[0.1, 0.2, 0.3], [0.9, 0.4, 0.2], [0.2, 1.2, 1.9]])
    return ase.Atoms("OH2", positions=positions, cell=[[3.1, 0.2, 0], [0, 3.4, 0.3], [0.1, 0, 3.9]], pbc=pbc)


def ice(seed=0):
    """Twelve atoms of H and O on a distorted simple cubic lattice."""
    random = np.random.default_rng(seed)
    sites = np.array([[a, b, c] for a in range(3) for b in range(2) for c in range(2)]) * 1.9
    return ase.Atoms("O4H8", sites + 0.1 * random.normal(size=(12, 3)), cell=[5.7, 3.8, 3.8], pbc=True)


@pytest.fixture
def atoms(model):
    atoms = water()
    atoms.calc = CommitteeCalculator(model)
    return atoms


def test_forces_and_stress_are_those_of_the_energy(atoms):
    forces, stress = atoms.get_forces(), atoms.get_stress()
    assert np.abs(forces).max() > 0.1
    assert np.abs(forces - calculate_numerical_forces(atoms, eps=1e-5)).max() < 1e-6
    assert np.abs(stress - calculate_numerical_stress(atoms, eps=1e-5)).max() < 1e-6


def test_results_hold_the_deviation(atoms):
    energy = atoms.get_potential_energy()
    assert energy == atoms.get_potential_energy(force_consistent=True)
    assert atoms.calc.results["force_deviation"].shape == (3,)
    assert atoms.calc.results["force_deviation"].min() > 0
    assert atoms.calc.results["energy_deviation"] > 0


def test_molecules_have_no_stress_and_atoms_no_energies(atoms):
    atoms.pbc = False
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_potential_energies()


def test_one_list_of_bonds_serves_many_steps_and_changes_nothing(model):
    """A walk that strays beyond half the skin, with a fresh list at every step beside it."""
    atoms, calculator, fresh = ice(), CommitteeCalculator(model), CommitteeCalculator(model, skin=0.0)
    random, copy = np.random.default_rng(1), ice()
    atoms.calc, copy.calc = calculator, fresh
    for _ in range(30):
        atoms.positions += 0.02 * random.normal(size=(12, 3))
        copy.positions = atoms.positions
        assert atoms.get_potential_energy() == pytest.approx(copy.get_potential_energy(), abs=1e-9)
        assert np.abs(atoms.get_forces() - copy.get_forces()).max() < 1e-9
        assert np.abs(atoms.get_stress() - copy.get_stress()).max() < 1e-10
    assert 1 < calculator.bonds.builds < 20
    assert fresh.bonds.builds == 30


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.set_cell(a.cell.array * 1.05),
        lambda a: a.set_cell(a.cell.array * 0.7, scale_atoms=True),
        lambda a: a.numbers.__setitem__(0, 1),
        lambda a: a.set_pbc(False),
        lambda a: a.positions.__setitem__(3, a.positions[3] + 2 * a.cell[0]),
        lambda a: a.wrap(eps=-0.2),
        lambda a: a.extend(ase.Atoms("H", [[1.0, 1.0, 1.0]])),
        lambda a: a.__delitem__(2),
        lambda a: a.rattle(0.8),
    ],
    ids=["cell", "strain", "element", "molecule", "far", "wrapped", "more", "fewer", "moved"],
)
def test_whatever_changes_the_result_is_that_of_a_fresh_calculator(change, model):
    atoms = ice()
    atoms.calc = CommitteeCalculator(model, skin=1.0)
    atoms.get_forces()
    change(atoms)
    again = atoms.copy()
    again.calc = CommitteeCalculator(model, skin=0.0)
    assert np.abs(atoms.get_forces() - again.get_forces()).max() < 1e-8
    assert atoms.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-8)


def test_dynamics_conserves_energy(model):
    """16 fs at 100 K in float64: the total energy errs by little, and four times less with half the timestep."""
    start = ice()
    start.calc = CommitteeCalculator(model)
    BFGS(start, logfile=None).run(fmax=0.3, steps=15)
    masses = start.get_masses()[:, None]
    start.set_momenta(np.sqrt(masses * units.kB * 100) * np.random.default_rng(0).normal(size=(12, 3)))
    spread = {}
    for timestep in (0.2, 0.1):
        atoms, total = start.copy(), []
        atoms.calc = CommitteeCalculator(model)
        dynamics = VelocityVerlet(atoms, timestep * units.fs)
        for _ in range(20):
            dynamics.run(round(0.8 / timestep))
            total.append(atoms.get_total_energy() / len(atoms))
        spread[timestep] = np.ptp(total)
    assert spread[0.1] < 1e-4
    assert spread[0.2] / spread[0.1] == pytest.approx(4, rel=0.3)


def test_relaxation_of_the_cell_lowers_the_energy(model):
    atoms = water()
    atoms.calc = CommitteeCalculator(model)
    before = atoms.get_potential_energy()
    BFGS(FrechetCellFilter(atoms), logfile=None, maxstep=0.02).run(fmax=0.05, steps=10)
    assert atoms.get_potential_energy() < before - 0.01


def test_the_slope_of_an_equation_of_state_is_the_pressure(model):
    atoms = water()
    atoms.calc = CommitteeCalculator(model)
    pressure, cell = -atoms.get_stress()[:3].mean(), atoms.cell.array.copy()
    energies, volumes = [], []
    for factor in np.linspace(0.99, 1.01, 7):
        atoms.set_cell(cell * factor, scale_atoms=True)
        energies.append(atoms.get_potential_energy())
        volumes.append(atoms.get_volume())
    slope = np.polyder(np.poly1d(np.polyfit(np.array(volumes) - volumes[3], energies, 4)))(0.0)
    assert -slope == pytest.approx(pressure, rel=1e-4)


def test_float32_is_near_float64(model):
    one, two = ice(), ice()
    one.calc, two.calc = CommitteeCalculator(model, dtype="float32"), CommitteeCalculator(model)
    assert 0 < np.abs(one.get_forces() - two.get_forces()).max() < 1e-3
    assert one.get_potential_energy() == pytest.approx(two.get_potential_energy(), abs=1e-3)


def spoiled(change):
    atoms = water()
    change(atoms)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "said"),
    [
        (spoiled(lambda a: a.set_pbc((True, True, False))), "all three directions or in none.*atoms.pbc = True"),
        (spoiled(lambda a: a.numbers.__setitem__(0, 14)), "does not know Si"),
        (spoiled(lambda a: a.numbers.__setitem__(0, 0)), "does not know X"),
        (ase.Atoms(pbc=True, cell=np.eye(3)), "no atoms"),
        (spoiled(lambda a: a.set_cell(np.zeros((3, 3)))), "no volume"),
        (spoiled(lambda a: a.set_cell([5, 5, 1e-5])), "too small or too flat"),
        (spoiled(lambda a: a.positions.__setitem__((0, 0), np.nan)), "NaN"),
        (spoiled(lambda a: a.positions.__setitem__((0, 0), 1e9)), "1e\\+09"),
    ],
)
def test_bad_input_is_refused_in_one_line(atoms, said, model):
    atoms.calc = CommitteeCalculator(model)
    with pytest.raises(CalculatorSetupError, match=said) as caught:
        atoms.get_potential_energy()
    assert "\n" not in str(caught.value)
    again = water()
    again.calc = atoms.calc
    assert np.isfinite(again.get_forces()).all()


def test_a_skin_of_no_length_is_refused(model):
    with pytest.raises(FrameError, match="skin -1 Å: expected 0"):
        CommitteeCalculator(model, skin=-1)


def test_a_mixed_committee_is_a_calculator_like_any_other(model, tmp_path):
    """A LEIGNN of a longer cutoff beside two TeaNets: the mean of all, with forces and stress of the mean energy."""
    architecture = get_architecture("leignn")
    config = dataclasses.replace(
        architecture.preset("campaign"), n_layers=2, scalar_width=8, vector_width=4, cutoff=4.5
    )
    member = architecture.init(config, torch.Generator().manual_seed(5))
    Committee(architecture, "campaign", config, Committee.load(model).baseline, (member,)).save(tmp_path / "leignn")
    merge_model_folders([model, tmp_path / "leignn"], tmp_path / "mixed")
    atoms, results = ice(), {}
    for name, folder in (("mixed", tmp_path / "mixed"), ("teanet", model), ("leignn", tmp_path / "leignn")):
        atoms.calc = CommitteeCalculator(folder)
        atoms.get_forces()
        results[name] = atoms.calc.results
    for key in ("energy", "forces", "stress"):
        mean = (2 * results["teanet"][key] + results["leignn"][key]) / 3
        assert results["mixed"][key] == pytest.approx(mean, abs=1e-8)
    assert np.abs(results["mixed"]["forces"] - results["teanet"]["forces"]).max() > 0.01
    atoms.calc = CommitteeCalculator(tmp_path / "mixed")
    assert np.abs(atoms.get_forces()[:2] - calculate_numerical_forces(atoms, eps=1e-5, iatoms=[0, 1])).max() < 1e-6


def test_a_model_with_forces_of_its_own_has_no_stress(tmp_path):
    architecture = get_architecture("leignn")
    config = dataclasses.replace(
        architecture.preset("published"), n_layers=1, scalar_width=8, vector_width=8, n_basis=4, cutoff=4.0
    )
    member = architecture.init(config, torch.Generator().manual_seed(0))
    baseline = Baseline(((1, -13.0), (8, -430.0)), scale=1.0)
    Committee(architecture, "published", config, baseline, (member,)).save(tmp_path)
    atoms = water()
    atoms.calc = CommitteeCalculator(tmp_path)
    assert atoms.get_forces().shape == (3, 3)
    with pytest.raises(CalculatorSetupError, match="no stress; train one of a campaign preset"):
        atoms.get_stress()
