"""The potentials that the examples take as truth, and what molecular dynamics with a model is judged by."""

import importlib
import json
import math
import sys
from pathlib import Path

import ase
import ase.build
import ase.units
import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet

from aiida_argonaut.mlip import potential
from aiida_argonaut.mlip.frames import FrameError

FOLDER = Path(__file__).parents[2] / "examples" / "claims"


@pytest.fixture
def example(monkeypatch):
    """Import a module of the examples by its name; what it registers, and the module, are gone after the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in potential.architecture_names():
        potential.get_architecture(name)  # those of the package stay known when the test is over
    monkeypatch.setattr(potential, "_REGISTERED", dict(potential._REGISTERED))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {file.stem for file in FOLDER.glob("*.py")} & set(sys.modules) - before:
        del sys.modules[name]


def start_of(example, name):
    """Shaken atoms of a system of the examples, with the potential that is its truth."""
    system = (example("leignn") if name in ("solid", "gas") else example("a2i")).SYSTEMS[name]
    atoms = system.start()
    atoms.rattle(0.08, seed=1)
    atoms.calc = example("reference_potentials").Potential(system.energy_of, system.cutoff)
    return atoms


@pytest.mark.parametrize("name", ["lj", "ka", "sw", "solid"])
def test_forces_of_the_truth_are_its_gradient(example, name):
    atoms = start_of(example, name)
    forces, positions = atoms.get_forces(), atoms.positions.copy()
    assert np.abs(forces).max() > 0.1
    assert forces.sum(0) == pytest.approx(np.zeros(3), abs=1e-9)
    chosen = np.random.default_rng(2).choice(len(atoms), 6, replace=False)
    if name == "ka":
        assert set(atoms.numbers[chosen]) == {1, 2}
    for atom in chosen:
        for axis in range(3):
            energies = []
            for step in (1e-4, -1e-4):
                atoms.positions = positions
                atoms.positions[atom, axis] += step
                energies.append(atoms.get_potential_energy())
            assert forces[atom, axis] == pytest.approx((energies[1] - energies[0]) / 2e-4, rel=1e-4, abs=1e-5)


def test_pairs_of_the_mixture_have_their_own_depth(example):
    truth = example("reference_potentials")
    for (first, second), (epsilon, sigma) in truth.MIXTURE.items():
        nearest = 2 ** (1 / 6) * sigma * truth.SIGMA
        pair = ase.Atoms([first, second], [(0, 0, 0), (nearest, 0, 0)], cell=3 * [40.0], pbc=True)
        pair.calc = truth.Potential(truth.lennard_jones, truth.CUTOFF)
        depth = 1 - 0.0163169 - 0.0389995 * (2.5 - 2 ** (1 / 6))  # 4 (x^-12 - x^-6) and its slope at 2.5 are taken off
        assert pair.get_potential_energy() == pytest.approx(-depth * epsilon * truth.EPSILON, rel=1e-6)
        pair.positions[1, 0] = 2.5 * sigma * truth.SIGMA - 1e-4
        assert pair.get_forces() == pytest.approx(np.zeros((2, 3)), abs=1e-5)


def test_silicon_has_two_epsilon_per_atom_in_diamond(example):
    truth = example("reference_potentials")
    edge = 2 ** (1 / 6) * truth.SILICON["sigma"] * 4 / math.sqrt(3)
    atoms = ase.build.bulk("Si", "diamond", a=edge, cubic=True).repeat(2)
    atoms.calc = truth.Potential(truth.stillinger_weber, 3.78)
    assert atoms.get_potential_energy() / len(atoms) == pytest.approx(-2 * truth.SILICON["epsilon"], rel=1e-6)
    assert abs(example("leignn").EDGE_OF_SILICON - edge) < 1e-3


@pytest.mark.parametrize(
    ("name", "count", "density"), [("solid", 64, None), ("liquid", 108, 0.8442), ("gas", 32, 0.05)]
)
def test_systems_are_what_the_script_says(example, name, count, density):
    atoms = example("leignn").SYSTEMS[name].start()
    assert len(atoms) == count
    if density is not None:
        sigma = example("reference_potentials").SIGMA
        assert count * sigma**3 / atoms.get_volume() == pytest.approx(density)
        assert set(atoms.get_masses()) == {1.0}


def test_an_ideal_gas_has_g_of_one(example):
    random, edge, width = np.random.default_rng(0), 10.0, 0.25
    frames = [edge * random.random((100, 3)) for _ in range(40)]
    r, g = example("observables").radial_distribution(frames, edge, width)
    assert r[0] == pytest.approx(width / 2)
    assert r[-1] == pytest.approx(edge / 2 - width / 2)
    shells = 4 / 3 * np.pi * ((r + width / 2) ** 3 - (r - width / 2) ** 3)
    expected = 40 * 100 * 99 / 2 * shells / edge**3
    assert np.abs((g - 1) * np.sqrt(expected)).max() < 4
    assert g[-8:] == pytest.approx(np.ones(8), abs=0.05)


def test_a_simple_cubic_lattice_has_its_neighbours(example):
    atoms = ase.build.bulk("H", "sc", a=2.0).repeat(5)
    r, g = example("observables").radial_distribution([atoms.positions], 10.0, 0.1)
    shells = 4 / 3 * np.pi * ((r + 0.05) ** 3 - (r - 0.05) ** 3)
    counts = g * shells / 1000.0 * (len(atoms) - 1)
    for distance, neighbours in ((2.0, 6), (8**0.5, 12), (12**0.5, 8), (4.0, 6)):
        assert counts[np.abs(r - distance) < 0.11].sum() == pytest.approx(neighbours)
    assert counts.sum() == pytest.approx(6 + 12 + 8 + 6 + 24 + 24)  # those at 4.47 and 4.90 Å are within half the edge


def test_h_is_a_distribution_of_all_pairs(example):
    observables = example("observables")
    frames = [7.3 * np.random.default_rng(seed).random((20, 3)) for seed in range(3)]
    r, h = observables.distance_distribution(frames, 7.3)
    assert h.sum() * observables.WIDTH == pytest.approx(1.0)
    assert r[-1] >= math.sqrt(3) / 2 * 7.3 - observables.WIDTH
    furthest = observables.distance_distribution([np.array([[0, 0, 0], [3.65, 3.65, 3.65]])], 7.3)[1]
    assert np.count_nonzero(furthest) == 1
    across = np.array([[0.1, 0, 0], [7.2, 0, 0]])
    assert observables.pair_distances(across, 7.3) == pytest.approx([0.2])
    assert observables.difference(h, h) == 0
    assert observables.difference(h, 0 * h) == pytest.approx(1.0)


def test_the_drift_of_a_line_is_its_slope(example):
    drift = example("observables").drift
    times = np.linspace(0.0, 5.0, 501)
    assert drift(times, 3.0 - 0.25 * times) == pytest.approx((-0.25, 0.0), abs=1e-12)
    slope, deviation = drift(times, 0.5 * times + np.sin(2 * np.pi * 20 * times))
    assert slope == pytest.approx(0.5, abs=0.02)
    assert deviation == pytest.approx(0.5**0.5, rel=0.02)
    with pytest.raises(ValueError, match="2 energies"):
        drift([0.0, 1.0], [0.0, 1.0])


class Hill(Calculator):
    """Forces that grow with the distance from the origin; beyond `edge` Å there is nothing to be asked."""

    implemented_properties = ("energy", "forces")

    def __init__(self, edge):
        super().__init__()
        self.edge = edge

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if np.abs(atoms.positions).max() > self.edge:
            raise FrameError("too far")
        self.results = {"energy": -0.5 * float((atoms.positions**2).sum()), "forces": atoms.positions.copy()}


@pytest.mark.parametrize(("edge", "reason"), [(np.inf, "K, "), (3.0, "too far")])
def test_a_trajectory_that_explodes_ends_and_says_when(example, edge, reason):
    atoms = ase.Atoms("H4", np.eye(4, 3) + 0.1)
    atoms.calc = Hill(edge)
    dynamics = VelocityVerlet(atoms, ase.units.fs)
    found = example("simulation").simulate(atoms, dynamics, 2000, 5, 1e6)
    assert reason in found.reason
    assert 10 < found.stopped < 2000
    assert len(found.positions) == len(found.energies) == (found.stopped - 1) // 5 + 1
    assert np.isfinite(found.energies).all()


def test_the_truth_is_followed_to_the_end_and_keeps_its_energy(example):
    atoms = start_of(example, "solid")
    found = example("simulation").simulate(atoms, VelocityVerlet(atoms, 0.5 * ase.units.fs), 80, 20, 1e5)
    assert (found.stopped, len(found.energies)) == (None, 5)
    assert found.temperatures[0] == 0 < 100 < found.temperatures[-1]
    assert np.ptp(found.energies) < 0.01 * 1.5 * ase.units.kB * found.temperatures[-1]


def test_the_narrow_form_has_about_as_many_weights_as_campaign(example):
    from aiida_argonaut.mlip.models.leignn import LeignnConfig, weight_shapes

    narrow = example("leignn_narrow")
    narrow_, campaign = (sum(map(math.prod, weight_shapes(each).values())) for each in (narrow.CONFIG, LeignnConfig()))
    assert abs(narrow_ - campaign) < 0.03 * campaign
    assert f"{narrow_:,}" in narrow.__doc__
    assert f"{campaign:,}" in narrow.__doc__


def test_results_are_kept_line_by_line_and_told_as_a_table(example, tmp_path):
    leignn = example("leignn")
    calm = leignn.without(example("simulation").Sampled([], [0.0, 0.1, 0.2], [300.0] * 3), 1e-3)
    assert calm["drift_mev_per_atom_ps"] == pytest.approx(1e5 / leignn.NVE_EVERY)
    wild = leignn.without(example("simulation").Sampled([], [0.0], [300.0], 7, "hot"), 1e-3)
    assert (wild["stopped_ps"], wild["drift_mev_per_atom_ps"]) == (0.007, None)
    nvt = {"g_difference_angstrom": 0.5, "h_difference": 0.1, "stopped_ps": None}
    for key, nve in (("gas:exact", calm), ("gas:campaign:5m", wild)):
        leignn.store(tmp_path / "found.json", key, {"settings": {"temperature_K": 300.0}, "nvt": nvt, "nve": nve})
    found = leignn.load(tmp_path / "found.json")
    rows = leignn.lines(found)[2:]
    assert len(rows) == 2
    assert rows[0].count("|") == rows[1].count("|") == leignn.lines(found)[0].count("|")
    assert "without at 0.007 ps" in rows[0]
    assert rows[1].endswith("| no |")


@pytest.mark.parametrize("name", ["a2i", "leignn"])
def test_the_table_of_a_claim_is_what_was_measured(example, name):
    found = json.loads((FOLDER / "results" / f"{name}.json").read_text())
    document = (FOLDER.parents[1] / "docs" / f"{name}.md").read_text()
    assert [line for line in example(name).lines(found) if line not in document] == []


def test_the_table_of_curves_is_what_was_measured(example):
    teanet = example("teanet")
    document = (FOLDER.parents[1] / "docs" / "teanet.md").read_text()
    lines = teanet.summary(teanet.labelled(), teanet.load())
    assert len(lines) == 2 + len(teanet.BONDS) + len(teanet.CRYSTALS) + 1
    assert [line for line in lines if line not in document] == []


def test_points_of_another_mesh_are_not_of_the_curve(example):
    teanet = example("teanet")
    frames = teanet.labelled()
    label = teanet.curve(frames, np.array([frame.get_potential_energy() for frame in frames]), "Si")
    assert label.x[label.other].tolist() == [0.76, 0.82]
    assert np.array_equal(label.counted().x, [0.88, 0.94, 1.0, 1.06, 1.13, 1.2, 1.28])
    line = teanet.Curve(label.x, 3 * label.x**2 - label.x + np.where(label.other, 0.5, 0.0), label.test, label.other)
    assert teanet.jump(line) == "+0.50"
