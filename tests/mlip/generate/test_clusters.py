"""Clusters: each molecule once per round, every element reached, boxes that fit."""

from collections import Counter

import numpy as np
import pytest
from ase.build import molecule
from ase.collections import g2
from scipy.stats import kstest

from aiida_argonaut.mlip.frames import read_atoms, write_atoms
from aiida_argonaut.mlip.generate.clusters import ClustersSettings, clusters
from aiida_argonaut.mlip.generate.draw import Draw, GenerationError
from aiida_argonaut.mlip.sanity import distance_ratio
from aiida_argonaut.mlip.settings import SettingsError, settings_from_mapping


def settings(**keys):
    return settings_from_mapping(ClustersSettings, keys, "recipe")


def make(which, index, seed=7):
    return clusters(which, Draw("ab12", seed, index, 0, index))


@pytest.fixture(scope="module")
def batch():
    return [make(settings(), index) for index in range(1500)]


@pytest.fixture(scope="module")
def molecules(batch):
    return [each for each in batch if each[1]["cluster"] == "molecule"]


@pytest.fixture(scope="module")
def random_clusters(batch):
    return [each for each in batch if each[1]["cluster"] == "random"]


def distances(positions):
    difference = positions[:, None] - positions[None]
    return np.linalg.norm(difference, axis=-1)[np.triu_indices(len(positions), 1)]


def test_any_order_gives_the_same_bits(batch):
    for index in (1133, 5, 0, 60):
        configuration, figures = make(settings(), index)
        assert configuration.configuration_id == batch[index][0].configuration_id
        assert figures == batch[index][1]
        assert (configuration.origin.source, configuration.origin.seed) == ("clusters", f"7/{index}")
    assert make(settings(), 5, seed=8)[0].configuration_id != batch[5][0].configuration_id
    assert len({configuration.configuration_id for configuration, _ in batch}) == len(batch)


def test_every_molecule_of_g2_comes_once_per_round(molecules):
    expected = sorted(name for name in g2.names if len(molecule(name)) > 1)
    assert len(expected) == 148
    assert sorted(settings().molecules) == expected
    names = [figures["molecule"] for _, figures in molecules]
    for start in range(0, len(names) - 147, 148):
        assert sorted(names[start : start + 148]) == expected


def test_shares(batch):
    assert sum(figures["cluster"] == "molecule" for _, figures in batch) == 900
    for share in (0.0, 0.25, 1.0):
        kinds = [make(settings(molecule_share=share), index)[1]["cluster"] for index in range(40)]
        assert kinds.count("molecule") == 40 * share


def test_no_pair_is_closer_than_drawn(molecules, random_clusters):
    for configuration, figures in random_clusters:
        assert 0.6 <= figures["distance_ratio"] <= 1.0
        assert distance_ratio(configuration, reach=2.0) >= figures["distance_ratio"] - 1e-6
    assert all(distance_ratio(configuration) >= 0.6 for configuration, _ in molecules)


def test_molecules_keep_their_shape_but_for_scale_and_rattle():
    calm = settings(molecule_share=1, substitution_share=0, rattle=[0, 0])
    for index in range(148):
        configuration, figures = make(calm, index)
        atoms = molecule(figures["molecule"])
        assert configuration.numbers.tolist() == atoms.numbers.tolist()
        np.testing.assert_allclose(
            distances(configuration.positions), figures["bond_scale"] * distances(atoms.positions), atol=2e-5
        )


def test_drawn_distributions(molecules, random_clusters):
    scales = [figures["bond_scale"] for _, figures in molecules]
    rattles = [figures["rattle"] for _, figures in molecules]
    fractions = np.log([figures["packing_fraction"] for _, figures in random_clusters])
    ratios = [figures["distance_ratio"] for _, figures in random_clusters]
    assert kstest(scales, "uniform", (0.85, 0.40)).pvalue > 0.01
    assert kstest(rattles, "uniform", (0.0, 0.15)).pvalue > 0.01
    assert kstest(fractions, "uniform", (np.log(0.15), np.log(4))).pvalue > 0.01
    assert kstest(ratios, "uniform", (0.6, 0.4)).pvalue > 0.01


def test_rattle_is_what_is_said():
    rattled = settings(molecule_share=1, substitution_share=0, rattle=[0.05, 0.05], bond_scale=[1, 1], elements=["H"])
    lengths = [distances(make(rattled, index)[0].positions)[0] for index in range(400)]
    along = np.sqrt(2) * 0.05  # difference of two deviates; across it is of second order
    assert np.std(lengths) == pytest.approx(along, rel=0.12)


def test_substitution(molecules):
    substituted = [(configuration, figures) for configuration, figures in molecules if "substitution" in figures]
    assert 0.18 < len(substituted) / len(molecules) < 0.32
    kinds = Counter(figures["substitution"] for _, figures in substituted)
    assert {"H>F", "H>Cl", "C>Si", "O>S", "N>P", "F>H"} <= set(kinds)
    columns = ("Li Na", "Be Mg", "B Al", "C Si", "N P", "O S", "H F Cl")
    assert all(any(set(kind.split(">")) <= set(column.split()) for column in columns) for kind in kinds)
    for configuration, figures in substituted:
        old, new = figures["substitution"].split(">")
        symbols = [new if s == old else s for s in molecule(figures["molecule"]).get_chemical_symbols()]
        assert configuration.to_atoms().get_chemical_symbols() == symbols


def test_bonds_to_a_substitute_are_stretched():
    methane = settings(
        molecule_share=1, substitution_share=1, elements=["H", "C", "Cl"], rattle=[0, 0], bond_scale=[1, 1]
    )
    made = [make(methane, index) for index in range(300)]
    bonds = [
        configuration.to_atoms().get_distances(0, [1, 2, 3, 4]).min()
        for configuration, figures in made
        if figures["molecule"] == "CH4" and figures["substitution"] == "H>Cl"
    ]
    assert bonds
    assert min(bonds) > 1.7  # 1.77 Å in CCl4, 1.09 in CH4


def test_every_element_leads_random_clusters(random_clusters):
    for start in range(0, len(random_clusters) - 17, 18):
        present = {z for configuration, _ in random_clusters[start : start + 18] for z in configuration.numbers}
        assert present == set(range(1, 19))
    sizes = Counter(len(configuration) for configuration, _ in random_clusters)
    assert set(sizes) == {3, 4, 5, 6, 7}
    assert {len(set(configuration.numbers)) for configuration, _ in random_clusters} == {1, 2, 3}


def test_random_clusters_fill_ellipsoids_of_many_shapes():
    large = settings(
        elements=["C"],
        molecule_share=0,
        atoms=[200, 200],
        species=[1, 1],
        packing_fraction=[0.01, 0.01],
        minimum_distance_ratio=[0.5, 0.5],
        maximum_volume=1e6,
    )
    sphere, ratios = 0.76, []
    radius = (200 * sphere**3 / 0.01) ** (1 / 3) - sphere
    for index in range(20):
        variances = np.linalg.eigvalsh(np.cov(make(large, index)[0].positions.T))
        assert variances.prod() ** (1 / 6) == pytest.approx(radius / np.sqrt(5), rel=0.12)
        ratios.append(np.sqrt(variances[2] / variances[0]))
    assert min(ratios) < 1.5
    assert max(ratios) > 2.2


def test_boxes_fit(batch):
    for configuration, _ in batch:
        edges = np.diag(configuration.cell)
        assert np.count_nonzero(configuration.cell) == 3
        assert edges.prod() <= 600 + 1e-4
        assert (edges - np.ptp(configuration.positions, axis=0)).min() >= 4 - 1e-7
        assert np.diff(np.sort(edges)).min() > 0.2
    assert np.mean([configuration.volume for configuration, _ in batch]) < 400


def test_orientations_are_random():
    nitrogen = settings(molecule_share=1, substitution_share=0, elements=["N"])
    axes = []
    for index in range(300):
        bond = np.diff(make(nitrogen, index)[0].positions, axis=0)[0]
        axes.append(bond / np.linalg.norm(bond))
    assert np.abs(np.mean(axes, axis=0)).max() < 0.15
    assert np.abs(np.mean(np.square(axes), axis=0) - 1 / 3).max() < 0.1


def test_elements_restrict_molecules():
    organic = settings(elements=["C", "H"])
    assert "CH4" in organic.molecules
    assert all(set(molecule(name).numbers) <= {1, 6} for name in organic.molecules)
    assert all(set(make(organic, index)[0].numbers) <= {1, 6} for index in range(60))
    noble = settings(elements=["He", "Ar"], molecule_share=0, species=[1, 2])
    assert {z for index in range(10) for z in make(noble, index)[0].numbers} == {2, 18}


def test_never_endless():
    tight = settings(maximum_volume=80, maximum_attempts=3, molecule_share=0, elements=["Na"], species=[1, 1])
    with pytest.raises(GenerationError, match="index 3: no cluster within 80 Å\\^3 found in 3 attempts"):
        make(tight, 3)


def test_figures_survive_a_file(batch, tmp_path):
    made = []
    for configuration, figures in batch[:300]:
        made.append(configuration.to_atoms())
        made[-1].info.update(figures)
    write_atoms(tmp_path / "clusters.extxyz", made)
    for atoms, (_, figures) in zip(read_atoms(tmp_path / "clusters.extxyz"), batch, strict=False):
        assert {key: atoms.info[key] for key in figures} == figures


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"elements": ["He"]}, r"elements \['He'\]: no molecule of the G2 set is made of these"),
        ({"elements": ["Fe"]}, r"elements \['Fe'\]: expected 'all'"),
        ({"molecule_share": 1.5}, "molecule_share 1.5: expected 0 to 1"),
        ({"substitution_share": -0.1}, "substitution_share -0.1: expected 0 to 1"),
        ({"bond_scale": [0, 1]}, r"bond_scale \[0, 1\]"),
        ({"rattle": [-0.1, 0.1]}, r"rattle \[-0.1, 0.1\]"),
        ({"atoms": [0, 3]}, r"atoms \[0, 3\]"),
        ({"species": [0, 3]}, r"species \[0, 3\]"),
        ({"species": [4, 4]}, "a cluster of 3 atoms and 18 elements cannot hold 4 species"),
        ({"packing_fraction": [0.5, 1.5]}, r"packing_fraction \[0.5, 1.5\]"),
        ({"minimum_distance_ratio": [0.4, 1.0]}, "minimum_distance_ratio 0.4: expected 0.5 or more"),
        ({"minimum_distance_ratio": [1.0, 0.9]}, r"minimum_distance_ratio \[1, 0.9\]"),
        ({"minimum_sphere_radius": 0}, "minimum_sphere_radius 0: expected a number above 0"),
        ({"vacuum": [6, 4]}, r"vacuum \[6, 4\]"),
        ({"vacuum": [3, 4]}, "vacuum 3 Å: images of Na may be closer than 1 of their radii"),
        ({"maximum_volume": 70}, "maximum_volume 70 Å.3: the lowest vacuum takes 76"),
        ({"maximum_attempts": 0}, "maximum_attempts 0"),
    ],
)
def test_impossible_settings_are_refused_at_once(keys, message):
    with pytest.raises(SettingsError, match=message):
        settings(**keys)
