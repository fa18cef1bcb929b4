"""Isometry: copies of a structure are found in any disguise, and nothing else is."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from scipy.stats import ortho_group

from aiida_argonaut.mlip.duplicates.isometry import isometry, primitive
from aiida_argonaut.mlip.duplicates.structure_hash import hash_keys, invariants, structure_hash
from aiida_argonaut.mlip.frames import Configuration


def disguised(configuration, random, supercell=False):
    """The same structure: other lattice vectors, turned or mirrored, moved, renumbered, in images, with noise."""
    atoms = configuration.to_atoms()
    if supercell:
        atoms = atoms.repeat(random.permutation([1, 1, 2]) if random.random() < 0.5 else random.permutation([1, 2, 3]))
    numbers, positions, cell = atoms.numbers, atoms.positions, np.array(atoms.cell)
    if configuration.periodic:
        for _ in range(3):
            i, j = random.choice(3, 2, replace=False)
            cell[i] += random.integers(-2, 3) * cell[j]
        positions = positions + random.integers(-2, 3, (len(positions), 3)) @ cell
    turn = ortho_group.rvs(3, random_state=random)
    order = random.permutation(len(positions))
    positions = (positions + random.uniform(-5, 5, 3)) @ turn + random.uniform(-1e-8, 1e-8, positions.shape)
    cell = cell @ turn + random.uniform(-1e-8, 1e-8, (3, 3)) if configuration.periodic else cell
    return Configuration(numbers[order], positions[order], cell, configuration.pbc)


def random_cell(random, atoms=8):
    n = int(random.integers(1, atoms + 1))
    cell = random.uniform(3, 7) * np.eye(3) + random.uniform(-1.2, 1.2, (3, 3))
    numbers = random.choice(random.integers(1, 19, 2), n)
    return Configuration(numbers, random.uniform(0, 1, (n, 3)) @ cell, cell)


CRYSTALS = [
    bulk("Al", "fcc", 4.05),
    bulk("Na", "bcc", 4.2, cubic=True),
    bulk("Mg", "hcp", 3.2, 5.2),
    bulk("Si", "diamond", 5.43, cubic=True),
    bulk("NaCl", "rocksalt", 5.64, cubic=True),
    bulk("SiC", "zincblende", 4.36),
    bulk("AlN", "wurtzite", 3.1, 4.98),
]
MOLECULES = ["H", "H2", "CO2", "H2O", "NH3", "CH4", "C2H2", "C6H6", "CH3CH2OH", "SiH4"]


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_random_cells_are_found(seed):
    random = np.random.default_rng(seed)
    for k in range(100):
        one = random_cell(random)
        other = disguised(one, random, supercell=k % 2 == 0)
        assert isometry(one, other) is not None
        assert isometry(other, one) < 1e-6
        assert structure_hash(one) in {f"s{key:015x}" for key in hash_keys(other)}
        assert invariants(one) == pytest.approx(invariants(other), abs=1e-6)


@pytest.mark.parametrize("atoms", CRYSTALS, ids=lambda atoms: str(atoms.symbols))
def test_copies_of_crystals_are_found(atoms):
    random = np.random.default_rng(0)
    one = Configuration.from_atoms(atoms)
    for _ in range(10):
        other = disguised(one, random, supercell=True)
        assert isometry(one, other) < 1e-6
        assert len(primitive(other).numbers) == len(primitive(one).numbers)
        assert set(hash_keys(one)) & set(hash_keys(other))


def test_primitive_cells_are_the_known_ones():
    sizes = [len(primitive(Configuration.from_atoms(atoms)).numbers) for atoms in CRYSTALS]
    assert sizes == [1, 1, 2, 2, 2, 2, 4]
    volume = [abs(np.linalg.det(primitive(Configuration.from_atoms(atoms)).cell)) for atoms in CRYSTALS[:2]]
    assert volume == pytest.approx([4.05**3 / 4, 4.2**3 / 2])


@pytest.mark.parametrize("name", MOLECULES)
def test_copies_of_molecules_are_found(name):
    random = np.random.default_rng(0)
    atoms = molecule(name)
    one = Configuration(atoms.numbers, atoms.positions, np.zeros((3, 3)), (False,) * 3)
    for _ in range(5):
        other = disguised(one, random)
        assert isometry(one, other) < 1e-6
        assert set(hash_keys(one)) & set(hash_keys(other))
    if len(one) > 1:
        moved = one.positions.copy()
        moved[0] += [1e-3, 2e-3, 3e-3]
        assert isometry(one, Configuration(one.numbers, moved, one.cell, one.pbc)) is None


def test_a_displacement_above_the_tolerance_is_another_structure():
    random = np.random.default_rng(1)
    for _ in range(50):
        one = random_cell(random)
        if len(one) == 1:
            continue
        moved = one.positions.copy()
        moved[0] += [0, 1e-4, 0]
        changed = Configuration(one.numbers, moved, one.cell)
        assert isometry(one, changed) is None
        strained = Configuration(one.numbers, one.positions * [1, 1, 1.0001], one.cell * [1, 1, 1.0001])
        assert isometry(one, strained) is None


def test_exchanged_elements_are_another_structure():
    zincblende, exchanged = bulk("SiC", "zincblende", 4.36), bulk("SiC", "zincblende", 4.36)
    exchanged.numbers = exchanged.numbers[::-1]
    one, other = Configuration.from_atoms(zincblende), Configuration.from_atoms(exchanged)
    assert isometry(one, other) is not None  # the structure is its own opposite
    random = np.random.default_rng(2)
    cell = 5 * np.eye(3)
    places = random.uniform(0, 5, (4, 3))
    one, other = Configuration([1, 1, 6, 6], places, cell), Configuration([1, 6, 1, 6], places, cell)
    assert isometry(one, other) is None


def homometric():
    """{0, 1, 4, 7} and {0, 1, 3, 4} / 8 have the same distances (Patterson, Phys. Rev. 65, 195 (1944))."""
    made = []
    for places in ([0, 1, 4, 7], [0, 1, 3, 4]):
        positions = np.zeros((4, 3))
        positions[:, 0] = 1.5 * np.array(places)
        made.append(Configuration([14] * 4, positions, np.diag([12.0, 3.1, 3.7])))
    return made


def test_homometric_structures_are_told_apart():
    one, other = homometric()
    assert invariants(one)[:2] == pytest.approx(invariants(other)[:2])
    assert isometry(one, other) is None
    assert isometry(one, disguised(one, np.random.default_rng(0))) is not None


def test_a_crystal_is_no_molecule():
    cell = np.eye(3) * 8
    place = np.zeros((1, 3))
    assert isometry(Configuration([2], place, cell), Configuration([2], place, 0 * cell, (False,) * 3)) is None


def test_near_the_edge_of_a_bin_there_are_several_hashes():
    """A lattice constant that puts the volume onto an edge: copies on either side of it share a key."""
    edge = np.exp(2e-3 * 2000 / 3)
    keys = [hash_keys(Configuration([10], np.zeros((1, 3)), (edge + shift) * np.eye(3))) for shift in (-3e-8, 3e-8)]
    assert keys[0][0] != keys[1][0]
    assert keys[0][0] in keys[1]
    assert keys[1][0] in keys[0]
