"""Prototypes: the table is what it claims, decorations are balanced, volumes follow the contact rule."""

import itertools
from collections import Counter

import numpy as np
import pytest
import spglib
from scipy import stats

from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.generate.compositions import oxidation_states
from aiida_argonaut.mlip.generate.draw import Draw
from aiida_argonaut.mlip.generate.perturb import PerturbSettings
from aiida_argonaut.mlip.generate.prototypes import (
    CONTACT_RADII,
    PrototypesSettings,
    decorated,
    ideal_prototype,
    prototypes,
)
from aiida_argonaut.mlip.generate.structure_types import structure_types
from aiida_argonaut.mlip.sanity import distance_ratio, pair_distances

# Letters of the Wyckoff positions in the literature; where the origin may be chosen, one or the other.
WYCKOFF = {
    "fcc": "a", "bcc": "a", "hcp": "c", "diamond": "a or b", "dhcp": "ac", "black_phosphorus": "f",
    "beta_tungsten": "ac",
    "silicon_bc8": "c", "boron_icosahedral": "h", "rocksalt": "ab", "zincblende": "ac or ad", "wurtzite": "b",
    "fluorite": "ac", "rutile": "af", "anatase": "ae", "pyrite": "ac", "cuprite": "ab", "laves": "ad or bc",
    "corundum": "ce", "copper3_gold": "ac", "lithium_nitride": "abc", "half_heusler": "abc or abd", "heusler": "abc",
    "perovskite": "abc or abd", "chalcopyrite": "abd", "delafossite": "abc", "calcite": "abe", "spinel": "ade or bce",
    "alpha_quartz": "ac", "max_phase": "adf", "matlockite": "ac", "potassium_chloroplatinate": "ace",
}  # fmt: skip
# Å: a bond length of the compound that a type is named after, from a, the kinds of the ends and the literature.
BONDS = [
    ("diamond", 3.567, "AA", 1.545), ("black_phosphorus", 3.314, "AA", 2.22), ("boron_icosahedral", 4.91, "AA", 1.67),
    ("nitrogen_molecular", 5.66, "AA", 1.07), ("nitrogen_cubic_gauche", 3.45, "AA", 1.35),
    ("rutile", 4.594, "AB", 1.95),
    ("anatase", 3.784, "AB", 1.934), ("corundum", 4.759, "AB", 1.855), ("alpha_quartz", 4.913, "AB", 1.605),
    ("pyrite", 5.42, "AB", 2.26), ("calcite", 4.99, "BC", 1.286), ("calcite", 4.99, "AC", 2.36),
    ("spinel", 8.083, "BC", 1.93), ("spinel", 8.083, "AC", 1.92), ("delafossite", 3.035, "AC", 1.83),
    ("chalcopyrite", 5.289, "AC", 2.30), ("molybdenite", 3.16, "AB", 2.41), ("max_phase", 3.06, "AC", 2.11),
    ("calcium_carbide", 3.89, "BB", 1.20), ("matlockite", 4.11, "AB", 2.54), ("lithium_nitride", 3.65, "AB", 1.94),
]  # fmt: skip


def some(n, seed=0, **keys):
    settings = PrototypesSettings(**keys)
    return [prototypes(settings, Draw("ab12", seed, index, 0, index)) for index in range(n)]


def bare(n, **keys):
    """Decorated prototypes without perturbation."""
    settings = PrototypesSettings(**keys)
    made = []
    for index in range(n):
        draw = Draw("ab12", 3, index, 0, index)
        name, numbers, positions, cell = decorated(settings, draw, draw.generator())
        made.append((structure_types()[name], Configuration(numbers, positions, cell)))
    return made


@pytest.mark.parametrize("name", list(structure_types()))
def test_table_against_spglib(name):
    kind = structure_types()[name]
    crystal = (kind.cell, kind.fractional, kind.kinds + 1)
    found = spglib.get_symmetry_dataset(crystal, symprec=1e-4)
    assert found.number == kind.group
    assert len(spglib.find_primitive(crystal, symprec=1e-4)[2]) == len(kind)
    if name in WYCKOFF:
        assert "".join(sorted(set(found.wyckoffs))) in WYCKOFF[name].split(" or ")
    assert np.linalg.det(kind.cell) > 0


def test_table_is_large_enough():
    sizes = Counter(len(kind.formula) for kind in structure_types().values())
    assert sizes == {1: 21, 2: 29, 3: 16}
    formulas = {
        name: structure_types()[name].formula for name in ("pyrite", "spinel", "cuprite", "potassium_chloroplatinate")
    }
    assert formulas == {
        "pyrite": (4, 8),
        "spinel": (2, 4, 8),
        "cuprite": (4, 2),
        "potassium_chloroplatinate": (2, 1, 6),
    }


@pytest.mark.parametrize(("name", "a", "ends", "length"), BONDS)
def test_bond_lengths_of_the_name_givers(name, a, ends, length):
    one, other = ("ABC".index(end) for end in ends)
    assert a * structure_types()[name].shortest[one, other] == pytest.approx(length, rel=0.02)


@pytest.mark.parametrize("name", ["hcp", "graphite", "wurtzite", "corundum", "matlockite", "spinel"])
def test_shortest_distances_by_the_independent_rule(name):
    kind = structure_types()[name]
    each = Configuration(np.ones(len(kind)), kind.fractional @ kind.cell, kind.cell)
    distances = pair_distances(each, 4.0)
    for a, b in itertools.product(range(len(kind.formula)), repeat=2):
        expected = distances[np.ix_(kind.kinds == a, kind.kinds == b)].min()
        assert kind.shortest[a, b] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "numbers", "volume"),  # Å^3 per formula unit or atom as measured
    [("rocksalt", (11, 17), 44.9), ("rocksalt", (12, 8), 18.7), ("rocksalt", (3, 1), 17.0), ("rocksalt", (3, 9), 16.3),
     ("diamond", (14,), 40.0), ("diamond", (6,), 11.4), ("zincblende", (13, 15), 40.9), ("fcc", (13,), 16.6),
     ("bcc", (11,), 37.9), ("hcp", (12,), 46.5), ("fcc", (18,), 37.5), ("rutile", (12, 9), 65.2)],
)  # fmt: skip
def test_contact_range_holds_known_crystals(name, numbers, volume):
    """Measured volumes lie within what the contact range and the +-25 % of the perturbation span."""
    low, high = (abs(np.linalg.det(ideal_prototype(name, numbers, contact)[2])) for contact in (0.9, 1.25))
    assert 0.75 * low < volume < 1.25 * high


def test_ideal_prototype():
    numbers, positions, cell = ideal_prototype("perovskite", (11, 12, 9))
    assert numbers.tolist() == [11, 12, 9, 9, 9]
    radii = CONTACT_RADII[numbers]
    ratios = pair_distances(Configuration(numbers, positions, cell), 8.0) / (radii[:, None] + radii[None, :])
    assert ratios.min() == pytest.approx(1.05, abs=1e-6)
    small = ideal_prototype("perovskite", (11, 12, 9), maximum_volume_per_atom=8.0)[2]
    assert np.linalg.det(small) == pytest.approx(40)
    with pytest.raises(ValueError, match="perovskite: given 2 elements, expected 3"):
        ideal_prototype("perovskite", (11, 12))


def test_any_order_gives_the_same_bits():
    batch = some(40)
    settings = PrototypesSettings()
    for index in (33, 5, 0, 20):
        again, figures = prototypes(settings, Draw("ab12", 0, index, 0, index))
        assert again.configuration_id == batch[index][0].configuration_id
        assert figures == batch[index][1]
        assert again.origin.source == "prototypes"
        assert again.origin.seed == f"0/{index}"
    other = {each[0].configuration_id for each in some(40, seed=1)}
    assert not other & {each[0].configuration_id for each in batch}


def test_distances_and_sizes():
    for each, figures in some(400):
        assert distance_ratio(each) >= 0.65
        assert len(each) <= 17  # with an interstitial
        assert each.volume <= 500.1 or figures["volume_scale"] > 1.25
        assert figures["prototype"] in structure_types()
        assert all(isinstance(value, (int, float, str)) for value in figures.values())
        assert all(" " not in value for value in figures.values() if isinstance(value, str))


def test_kinds_keep_their_shares_and_all_prototypes_come():
    made = bare(1200)
    sizes = [len(kind.formula) for kind, _ in made]
    assert all(Counter(sizes[k : k + 4]) == {1: 1, 2: 2, 3: 1} for k in range(0, 1200, 4))
    names = Counter(kind.name for kind, _ in made)
    assert set(names) == set(structure_types())


def test_contacts_are_uniform():
    found = []
    for kind, each in bare(600, maximum_volume_per_atom=1e4, maximum_volume=1e5):
        species = np.array([each.numbers[kind.kinds == k][0] for k in range(len(kind.formula))])
        length = (each.volume / np.linalg.det(kind.cell)) ** (1 / 3)
        found.append(length / kind.touching(CONTACT_RADII[species]))
    assert stats.kstest(found, stats.uniform(0.9, 0.35).cdf).pvalue > 0.01


def test_limits_of_volume_hold_and_so_do_distances():
    for kind, each in bare(500, maximum_volume_per_atom=20.0, maximum_volume=150.0):
        assert each.volume / len(each) <= 20.0 + 1e-6
        assert each.volume <= 150.0 + 1e-5
        assert distance_ratio(each) >= 0.65
        assert len(kind) == len(each)


def test_each_pair_once_in_a_round():
    pairs = []
    for _, each in bare(342, kinds=(0, 1, 0)):
        found = sorted(set(each.numbers.tolist()))
        pairs.append((found[0], found[-1]))
    every = set(itertools.combinations_with_replacement(range(1, 19), 2))
    assert len(every) == 171
    assert set(pairs[:171]) == set(pairs[171:]) == every
    order = Counter(bool(each.numbers[0] == min(each.numbers)) for _, each in bare(171, kinds=(0, 1, 0)))
    assert min(order.values()) > 40


def test_each_element_leads_once_in_a_round():
    for kinds in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        made = bare(36, kinds=kinds, composition="elements")
        for turn in (made[:18], made[18:]):
            assert {z for _, each in turn for z in each.numbers.tolist()} == set(range(1, 19))
    lone = [each.numbers[0] for _, each in bare(72) if len(set(each.numbers.tolist())) == 1]
    assert len(set(lone)) > 12


def test_charges_balance():
    for kind, each in bare(120, composition="charge_balanced", kinds=(0, 2, 1)):
        species = [each.numbers[kind.kinds == k][0] for k in range(len(kind.formula))]
        assert len(set(species)) == len(species)
        states = itertools.product(*(oxidation_states(int(z)) for z in species))
        assert any(sum(n * q for n, q in zip(kind.formula, each_, strict=True)) == 0 for each_ in states)
    metals = {each.numbers[0] for _, each in bare(18, composition="charge_balanced", kinds=(1, 0, 0))}
    assert metals == set(range(1, 19))


def test_named_prototypes_and_few_elements():
    chosen = some(30, prototypes=["spinel", "rocksalt"], elements=["Mg", "Al", "O"])
    assert {figures["prototype"] for _, figures in chosen} == {"spinel", "rocksalt"}
    assert {z for each, _ in chosen for z in each.numbers.tolist()} <= {8, 12, 13}
    single = some(10, elements=["Si"])
    assert all(set(each.numbers.tolist()) == {14} for each, _ in single)
    quiet = PerturbSettings(
        **{name: 0.0 for name in PerturbSettings.__dataclass_fields__ if name.endswith("_probability")}
    )
    assert all(list(figures) == ["prototype"] for _, figures in some(10, perturb=quiet))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"elements": ["K"]}, r"elements \['K'\]"),
        ({"prototypes": ["rock_salt"]}, "'rock_salt' is not known; did you mean 'rocksalt'"),
        ({"prototypes": []}, "expected 'all' or names"),
        ({"prototypes": ["fcc", "fcc"]}, "each once"),
        ({"prototypes": ["spinel"], "maximum_atoms": 8}, "spinel has 14 atoms, maximum_atoms is 8"),
        ({"prototypes": ["spinel"], "elements": ["C", "O"]}, "no prototype of these kinds"),
        ({"prototypes": ["fcc"], "kinds": (0, 1, 0)}, "no prototype of these kinds"),
        ({"elements": ["He", "Ne"], "kinds": (0, 1, 0), "composition": "charge_balanced"}, "charge_balanced"),
        ({"kinds": (0, 0, 0)}, r"kinds \[0, 0, 0\]"),
        ({"kinds": (1, -1, 2)}, r"kinds \[1, -1, 2\]"),
        ({"kinds": (60, 60, 60)}, "sum of 1 to 100"),
        ({"contact": (0.6, 1.0)}, r"contact \[0.6, 1\]"),
        ({"contact": (1.2, 1.0)}, r"contact \[1.2, 1\]"),
        ({"minimum_distance_ratio": 0.4}, "minimum_distance_ratio 0.4: expected 0.5 or more"),
        ({"maximum_atoms": 0}, "maximum_atoms 0"),
        ({"maximum_volume_per_atom": 5}, "of Na needs more at minimum_distance_ratio 0.65"),
        ({"prototypes": ["nitrogen_molecular"]}, "nitrogen_molecular of Na needs more"),
    ],
)
def test_impossible_settings_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        PrototypesSettings(**keys)
