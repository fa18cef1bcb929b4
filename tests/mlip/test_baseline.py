"""Reference energies are recovered, and repulsion keeps atoms apart without touching molecules."""

import ase.build
import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from aiida_argonaut.mlip.baseline import (
    Baseline,
    check_elements,
    fit_reference_energies,
    reference_energies_from_symbols,
)
from aiida_argonaut.mlip.frames import Configuration, FrameError, LabelledFrame
from aiida_argonaut.mlip.graph import build_graph
from aiida_argonaut.mlip.potential import baseline_part

ZERO = Baseline(tuple((z, 0.0) for z in range(1, 19)))


def dimer(z1, z2, distance):
    return Configuration([z1, z2], np.array([[0.0, 0, 0], [0, 0, distance]]), np.zeros((3, 3)), (False,) * 3)


def repulsion(z1, z2, distance):
    return baseline_part(ZERO, build_graph([dimer(z1, z2, distance)], 5.0))


def test_repulsion_is_the_published_screened_coulomb():
    x = 0.05 * (14**0.23 + 8**0.23) / 0.46850
    terms = [(0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162)]
    expected = 14.399645 * 14 * 8 / 0.05 * sum(c * np.exp(-d * x) for c, d in terms)
    assert float(repulsion(14, 8, 0.05).energy[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("z1", range(1, 19))
def test_every_pair_is_pushed_apart_and_ends_smoothly(z1):
    for z2 in range(1, 19):
        outer = 0.75 * (covalent_radii[z1] + covalent_radii[z2])
        steps = np.linspace(0.02, 0.995, 60) * outer
        parts = baseline_part(ZERO, build_graph([dimer(z1, z2, d) for d in steps], 5.0))
        assert (parts.energy.diff() < 0).all()
        assert (parts.forces[1::2, 2] > 0).all()
        end = repulsion(z1, z2, outer - 1e-5)
        assert abs(float(end.energy[0])) < 1e-9
        assert end.forces.abs().max() < 1e-5
        assert float(repulsion(z1, z2, outer + 1e-4).energy[0]) == 0


@pytest.mark.parametrize("name", ["N2", "CO", "C2H2", "H2", "O2", "CH3CH2OH", "HF", "SiO", "P2", "HCN"])
def test_molecules_are_untouched(name):
    atoms = ase.build.molecule(name)
    part = baseline_part(ZERO, build_graph([Configuration.from_atoms(atoms)], 5.0))
    assert float(part.energy[0]) == 0


def test_total_energies_of_ten_thousand_ev_keep_their_digits():
    baseline = Baseline(((8, -432.123456789),), repulsion=False)
    positions = np.arange(300)[:, None] * np.array([[7.0, 0, 0]])
    graph = build_graph([Configuration([8] * 300, positions, np.zeros((3, 3)), (False,) * 3)], 5.0, dtype=torch.float32)
    assert float(baseline_part(baseline, graph).energy[0]) == pytest.approx(-300 * 432.123456789, abs=1e-7)


def test_reference_energies_are_recovered():
    random = np.random.default_rng(0)
    truth = {1: -13.6, 6: -150.0, 8: -430.0}
    frames = []
    for _ in range(20):
        numbers = random.choice(list(truth), random.integers(2, 9))
        configuration = Configuration(numbers, random.random((len(numbers), 3)) * 9, np.eye(3) * 9)
        energy = sum(truth[int(z)] for z in numbers) + 0.5
        frames.append(LabelledFrame(configuration, energy, np.zeros((len(numbers), 3)), None, "p"))
    fitted = dict(fit_reference_energies(frames, [0.5] * len(frames)))
    assert fitted == pytest.approx(truth, abs=1e-6)


def test_one_composition_gives_equal_energies():
    configuration = Configuration([1, 8], np.array([[0.0, 0, 0], [0, 0, 1.0]]), np.eye(3) * 9)
    frame = LabelledFrame(configuration, -20.0, np.zeros((2, 3)), None, "p")
    assert dict(fit_reference_energies([frame], [0.0])) == pytest.approx({1: -10.0, 8: -10.0})


def test_bad_input_is_refused():
    with pytest.raises(FrameError, match="does not know K"):
        check_elements([19], [1, 2], "KH")
    with pytest.raises(FrameError, match="'Fe' is not an element from H to Ar"):
        reference_energies_from_symbols({"Fe": 1.0}, "file.json")


@pytest.mark.parametrize("energy", ["x", "-13.6", None, True, [1.0], float("nan")])
def test_energies_that_are_no_numbers_are_named(energy):
    with pytest.raises(FrameError, match=r"file.json: H: .* is not an energy"):
        reference_energies_from_symbols({"O": -430.0, "H": energy}, "file.json")
