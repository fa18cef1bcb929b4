"""Fluids: at the density drawn, molecules whole and apart, every element leading."""

from collections import Counter

import numpy as np
import pytest
from ase.build import molecule
from ase.collections import g2
from ase.data import atomic_masses
from scipy.stats import kstest

from aiida_argonaut.mlip.frames import read_atoms, write_atoms
from aiida_argonaut.mlip.generate.draw import Draw, GenerationError
from aiida_argonaut.mlip.generate.fluids import FluidsSettings, fluids
from aiida_argonaut.mlip.sanity import RADII, distance_ratio, periodic_shifts
from aiida_argonaut.mlip.settings import SettingsError, settings_from_mapping


def settings(**keys):
    return settings_from_mapping(FluidsSettings, keys, "recipe")


def make(which, index, seed=7):
    return fluids(which, Draw("ab12", seed, index, 0, index))


@pytest.fixture(scope="module")
def batch():
    return [make(settings(), index) for index in range(510)]


def members(figures):
    """(n,) number of the molecule that each atom belongs to, and the names."""
    names = figures["molecules"].split("-")
    sizes = [1 if name not in g2.names else len(molecule(name)) for name in names]
    return np.repeat(np.arange(len(names)), sizes), names


def closest_between(configuration, of):
    """Smallest ratio of atoms of different molecules, images of a molecule being other molecules."""
    contact = RADII[configuration.numbers][:, None] + RADII[configuration.numbers]
    position = configuration.positions
    fractional = position @ np.linalg.inv(configuration.cell)
    # to whole molecules in the home cell, so that few shifts suffice
    home = position - np.floor(fractional) @ configuration.cell
    offset = np.floor(fractional)
    best = np.inf
    for shift in periodic_shifts(configuration.cell, 12.0):
        distance = np.linalg.norm(home[:, None] - home[None] + shift, axis=-1) / contact
        image = np.round(shift @ np.linalg.inv(configuration.cell))
        same = (of[:, None] == of) & (np.abs(image + offset[None] - offset[:, None]).max(axis=-1) == 0)
        best = min(best, distance[~same].min(initial=np.inf))
    return best


def test_any_order_gives_the_same_bits(batch):
    for index in (433, 5, 0, 60):
        configuration, figures = make(settings(), index)
        assert configuration.configuration_id == batch[index][0].configuration_id
        assert figures == batch[index][1]
        assert (configuration.origin.source, configuration.origin.seed) == ("fluids", f"7/{index}")
    assert make(settings(), 5, seed=8)[0].configuration_id != batch[5][0].configuration_id
    assert len({configuration.configuration_id for configuration, _ in batch}) == len(batch)


def test_atoms_are_those_of_the_molecules(batch):
    for configuration, figures in batch:
        of, names = members(figures)
        symbols = [s for name in names for s in (molecule(name).symbols if name in g2.names else [name])]
        assert configuration.to_atoms().get_chemical_symbols() == symbols
        assert len(of) == len(configuration)


def test_molecules_keep_their_distance(batch):
    closest = []
    for configuration, figures in batch[:170]:
        assert 0.8 <= figures["intermolecular_ratio"] <= 1.6
        closest.append(closest_between(configuration, members(figures)[0]) / figures["intermolecular_ratio"])
        assert distance_ratio(configuration, reach=1.0) >= 0.6
    assert min(closest) >= 1 - 1e-6
    assert min(closest) < 1.1


def test_molecules_are_whole():
    calm = settings(rattle=[0, 0])
    for index in range(100):
        configuration, figures = make(calm, index)
        of, names = members(figures)
        for number, name in enumerate(names):
            if name in g2.names:
                positions = configuration.positions[of == number]
                drawn = np.linalg.norm(positions[:, None] - positions, axis=-1)
                expected = figures["bond_scale"] * molecule(name).get_all_distances()
                np.testing.assert_allclose(drawn, expected, atol=2e-5)


def test_copies_are_rattled_on_their_own():
    water = settings(molecules=["H2O"], copies=[2, 2], packing_fraction=[0.05, 0.05])
    configuration, _ = make(water, 0)
    bonds = [configuration.to_atoms().get_distance(oxygen, oxygen + 1) for oxygen in (0, 3)]
    assert abs(bonds[0] - bonds[1]) > 1e-4


def test_every_element_is_in_every_round(batch):
    for start in range(0, 510, 17):
        present = {z for configuration, _ in batch[start : start + 17] for z in configuration.numbers.tolist()}
        assert present == set(range(1, 19)) - {12}


def test_molecules_of_an_element_take_turns():
    three = settings(molecules=["H2O", "CH4", "NH3", "Ar"], kinds=[1, 1])
    # H leads each of three, and C, N, O and Ar their only one: three rounds of five
    names = [members(make(three, index)[1])[1][0] for index in range(15)]
    assert Counter(names) == {"H2O": 4, "CH4": 4, "NH3": 4, "Ar": 3}


def test_kinds_and_copies(batch):
    names = [members(figures)[1] for _, figures in batch]
    assert {len(set(each)) for each in names} == {1, 2}
    assert {len(each) for each in names} == {1, 2, 3, 4, 5, 6}
    both = settings(molecules=["H2O", "CO"], kinds=[2, 2], copies=[3, 3])
    assert all(len(set(members(make(both, index)[1])[1])) == 2 for index in range(20))


def test_limits_are_kept(batch):
    for configuration, _ in batch:
        cell = configuration.to_atoms().cell
        assert len(configuration) <= 16
        assert configuration.volume <= 500 + 1e-4
        assert max(cell.lengths()) / min(cell.lengths()) <= 1.6 + 1e-6
        assert all(75 - 1e-6 <= angle <= 105 + 1e-6 for angle in cell.angles())
    assert np.mean([configuration.volume for configuration, _ in batch]) < 350


def test_density_is_what_is_said(batch):
    for configuration, figures in batch:
        spheres = (4 / 3 * np.pi * np.maximum(RADII[configuration.numbers], 0.75) ** 3).sum()
        assert figures["packing_fraction"] == pytest.approx(spheres / configuration.volume, abs=1e-5)
        density = atomic_masses[configuration.numbers].sum() / 6.02214076e23 / (configuration.volume * 1e-24)
        assert figures["mass_density"] == pytest.approx(density, rel=1e-4)


def test_density_is_log_uniform():
    keys = {"maximum_volume": 5000, "intermolecular_ratio": [0.8, 0.8]}
    for name, low, high in (("packing_fraction", 0.04, 0.2), ("mass_density", 0.3, 1.2)):
        given = settings(molecules=["H2O", "CH4", "He"], **{name: [low, high]}, **keys)
        drawn = np.log([make(given, index)[1][name] for index in range(400)])
        assert kstest(drawn, "uniform", (np.log(low), np.log(high / low))).pvalue > 0.01


def test_other_drawn_distributions(batch):
    scales = [figures["bond_scale"] for _, figures in batch]
    rattles = [figures["rattle"] for _, figures in batch]
    ratios = [figures["intermolecular_ratio"] for _, figures in batch if figures["packing_fraction"] < 0.1]
    assert kstest(scales, "uniform", (0.9, 0.25)).pvalue > 0.01
    assert kstest(rattles, "uniform", (0.0, 0.1)).pvalue > 0.01
    assert max(ratios) > 1.5


def test_hard_cells_grow_and_molecules_come_closer():
    hard = settings(molecules=["CCl4"], copies=[3, 3], packing_fraction=[0.25, 0.25], intermolecular_ratio=[0.8, 1.6])
    made = [make(hard, index)[1] for index in range(20)]
    assert max(figures["attempts"] for figures in made) > 1
    for figures in made:
        assert figures["packing_fraction"] == pytest.approx(0.25 / 1.06 ** (figures["attempts"] - 1), abs=1e-5)


def test_noble_fluids():
    noble = settings(elements=["He", "Ne", "Ar"])
    assert noble.names == ["He", "Ne", "Ar"]
    for index in range(30):
        configuration, figures = make(noble, index)
        assert set(configuration.numbers) <= {2, 10, 18}
        assert distance_ratio(configuration, reach=2.0) >= figures["intermolecular_ratio"] - 1e-6


def test_never_endless():
    keys = {"molecules": ["CCl4"], "copies": [3, 3], "intermolecular_ratio": [1.6, 1.6], "maximum_attempts": 2}
    hopeless = settings(packing_fraction=[0.6, 0.6], **keys)
    with pytest.raises(GenerationError, match="index 3: 3 molecules not placed in 2 cells"):
        make(hopeless, 3)


def test_figures_survive_a_file(batch, tmp_path):
    made = []
    for configuration, figures in batch:
        made.append(configuration.to_atoms())
        made[-1].info.update(figures)
    write_atoms(tmp_path / "fluids.extxyz", made)
    for atoms, (_, figures) in zip(read_atoms(tmp_path / "fluids.extxyz"), batch, strict=True):
        assert {key: atoms.info[key] for key in figures} == figures


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"elements": ["Xx"]}, r"elements \['Xx'\]: expected 'all'"),
        ({"elements": ["Mg"]}, r"molecules \[\]: expected one or more that are made of elements \['Mg'\]"),
        ({"molecules": []}, r"molecules \[\]: expected one or more"),
        ({"molecules": ["H2O", "water"]}, r"molecules \['water'\]: expected 'all' or names of the G2 set"),
        ({"molecules": ["H2O", "H2O"]}, "each once"),
        ({"molecules": ["H2O"], "elements": ["H"]}, r"molecules \['H2O'\]: expected one or more that are made of"),
        ({"maximum_molecule_atoms": 0}, "maximum_molecule_atoms 0"),
        ({"kinds": [1, 3]}, r"kinds \[1, 3\]"),
        ({"kinds": [2, 2], "copies": [1, 4]}, r"copies \[1, 4\]"),
        ({"packing_fraction": [0, 0.3]}, r"packing_fraction \[0, 0.3\]"),
        ({"mass_density": [0, 1]}, r"mass_density \[0, 1\]"),
        ({"intermolecular_ratio": [0.5, 1.6]}, r"intermolecular_ratio \[0.5, 1.6\]: .* 0.6 <= lowest"),
        ({"minimum_distance_ratio": 0.4}, "minimum_distance_ratio 0.4: expected 0.5 or more"),
        ({"bond_scale": [0.05, 1]}, r"bond_scale \[0.05, 1\]"),
        ({"rattle": [0.1, 0.05]}, r"rattle \[0.1, 0.05\]"),
        ({"minimum_sphere_radius": 0}, "minimum_sphere_radius 0"),
        ({"maximum_atoms": 0}, "maximum_atoms 0"),
        ({"molecules": ["CCl4"], "maximum_volume": 50}, "maximum_volume 50 Å.3: CCl4 at 0.3 needs 65"),
        ({"maximum_elongation": 0.9}, "maximum_elongation 0.9: expected 1 to 100"),
        ({"angles": [60, 120]}, r"angles \[60, 120\]"),
        ({"maximum_attempts": 0}, "maximum_attempts 0"),
    ],
)
def test_impossible_settings_are_refused_at_once(keys, message):
    with pytest.raises(SettingsError, match=message):
        settings(**keys)
