"""Duplicates: every disguised copy is found, no different structure is; labels and user frames are not lost."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from aiida_argonaut.mlip.duplicates.deduplicate import DuplicateFinder, DuplicateSettings, Frame, Label, label_of
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame, Origin


def random_cells(n, seed=0, elements=18):
    random = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        atoms = int(random.integers(1, 9))
        cell = random.uniform(3, 7) * np.eye(3) + random.uniform(-1.2, 1.2, (3, 3))
        numbers = random.choice(random.integers(1, elements + 1, 3), atoms)
        made.append(Configuration(numbers, random.uniform(0, 1, (atoms, 3)) @ cell, cell))
    return made


def copy(configuration, random):
    """Turned or mirrored, moved, renumbered, in another cell of the lattice, with noise of 1e-8 Å."""
    cell = configuration.cell.copy()
    cell[0] += random.integers(-2, 3) * cell[1]
    cell[2] += random.integers(-2, 3) * cell[0]
    turn, order = ortho_group.rvs(3, random_state=random), random.permutation(len(configuration))
    shifts = random.integers(-2, 3, (len(configuration), 3)) @ cell + random.uniform(-5, 5, 3)
    noise = random.uniform(-1e-8, 1e-8, (len(configuration) + 3, 3))
    positions = (configuration.positions + shifts) @ turn + noise[3:]
    return Configuration(configuration.numbers[order], positions[order], cell @ turn + noise[:3])


def verdicts(frames, **settings):
    finder = DuplicateFinder(DuplicateSettings(**settings))
    return [finder.verdict(frame if isinstance(frame, Frame) else Frame(frame)) for frame in frames]


def test_2000_disguised_copies_are_all_found():
    random = np.random.default_rng(0)
    originals = random_cells(500)
    copies = [copy(originals[k % 500], random) for k in range(2000)]
    found = verdicts([*originals, *copies])
    assert {verdict.kind for verdict in found[:500]} == {"kept"}
    assert [(v.kind, v.other) for v in found[500:]] == [("exact", k % 500) for k in range(2000)]
    assert {v.other_id for v in found[500:]} == {c.configuration_id for c in originals}
    assert max(v.distance for v in found[500:]) < 1e-6


def test_10000_different_structures_are_all_kept():
    """Of few elements, so that many have one formula."""
    structures = random_cells(10_000, seed=1, elements=3)
    assert {(v.kind, v.other) for v in verdicts(structures)} == {("kept", None)}


def test_one_formula_and_one_density_are_no_duplicate():
    random = np.random.default_rng(2)
    frames = [Configuration([11, 17, 11, 17], random.uniform(0, 5, (4, 3)), 5 * np.eye(3)) for _ in range(300)]
    assert {v.kind for v in verdicts(frames)} == {"kept"}


def rattled(configuration, size, seed=0):
    random = np.random.default_rng(seed)
    moved = configuration.positions + random.normal(0, size / np.sqrt(3), configuration.positions.shape)
    return Configuration(configuration.numbers, moved, configuration.cell, origin=configuration.origin)


def rocksalt(source="packing"):
    cell = 4.2 * np.eye(3)
    places = 2.1 * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    return Configuration([12] * 4 + [8] * 4, places, cell, origin=Origin(source))


def test_near_duplicates_are_found_when_asked_for():
    frames = [rocksalt(), rattled(rocksalt(), 0.01), rattled(rocksalt(), 0.15)]
    assert [v.kind for v in verdicts(frames)] == ["kept"] * 3
    found = verdicts(frames, near=True)
    assert [(v.kind, v.other) for v in found] == [("kept", None), ("near", 0), ("kept", None)]
    assert 0 < found[1].distance < 0.05
    assert [v.kind for v in verdicts(frames, near=True, fingerprint_distance=1e-4)] == ["kept"] * 3
    wide = {"fingerprint_distance": 1.4, "site_tolerance": 0.3, "length_tolerance": 0.2, "angle_tolerance": 10.0}
    assert [v.kind for v in verdicts(frames, near=True, **wide)] == ["kept", "near", "near"]


def test_a_near_supercell_is_found_and_a_denser_cell_is_not():
    small = rocksalt()
    large = Configuration.from_atoms(small.to_atoms().repeat((1, 1, 2)))
    dense = Configuration(small.numbers, small.positions * 0.98, small.cell * 0.98)
    found = verdicts([small, rattled(large, 0.01), dense], near=True, fingerprint_distance=1.4)
    assert [v.kind for v in found] == ["kept", "near", "kept"]


def label(energy=-1.0, protocol="p", force=0.1, pressure=0.0):
    return Label(protocol, energy, force, pressure)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (label(), label(), "exact"),
        (label(), label(energy=-1.0 + 1e-8), "exact"),
        (label(), None, "exact"),
        (None, label(), "kept"),
        (label(), label(energy=-1.001), "kept"),
        (label(), label(protocol="q"), "kept"),
        (label(), label(force=0.2), "kept"),
        (label(), label(pressure=0.01), "kept"),
        (label(), label(pressure=None), "exact"),
        (label(pressure=None), label(), "kept"),
    ],
)
@pytest.mark.parametrize("near", [False, True])
def test_no_label_is_lost(first, second, kind, near):
    other = rattled(rocksalt(), 0.01) if near else rocksalt()
    found = verdicts([Frame(rocksalt(), first), Frame(other, second)], near=near)
    assert found[1].kind == ("near" if near and kind == "exact" else kind)
    assert found[1].other == 0
    assert found[1].reason == ("label" if kind == "kept" else "")


def test_a_third_copy_is_compared_with_all_that_are_kept():
    frames = [Frame(rocksalt()), Frame(rocksalt(), label()), Frame(rocksalt(), label()), Frame(rocksalt())]
    found = verdicts(frames)
    assert [(v.kind, v.other) for v in found] == [("kept", None), ("kept", 0), ("exact", 1), ("exact", 0)]


@pytest.mark.parametrize("near", [False, True])
def test_user_frames_are_protected(near):
    frames = [rocksalt(), rocksalt("user"), rocksalt("user"), rocksalt(), rattled(rocksalt("user"), 0.01)]
    found = verdicts(frames, near=near)
    assert [v.kind for v in found] == ["kept", "kept", "exact", "exact", "kept"]
    assert [v.other for v in found[:4]] == [None, 0, 1, 0]
    assert [v.reason for v in found] == ["", "protected", "", "", "protected" if near else ""]


def test_isolated_copies_are_found():
    water = [[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]]
    one = Configuration([8, 1, 1], water, np.zeros((3, 3)), (False,) * 3)
    other = Configuration([1, 8, 1], np.array(water)[[1, 0, 2]] + 3.0, np.zeros((3, 3)), (False,) * 3)
    twice = Configuration([8, 1, 1] * 2, [*water, *(np.array(water) + 9)], np.zeros((3, 3)), (False,) * 3)
    assert [v.kind for v in verdicts([one, other, twice], near=True)] == ["kept", "exact", "kept"]


def test_the_label_of_a_file_is_what_a_supercell_has_too():
    stress = np.diag([0.1, 0.2, 0.3])
    frame = LabelledFrame(rocksalt(), -8.0, np.full((8, 3), 0.1), stress, "p").to_atoms()
    found = label_of(frame.calc.results, "p", 8)
    assert found == Label("p", -1.0, pytest.approx(0.1 * np.sqrt(3)), pytest.approx(-0.2))
    assert label_of({"stress": stress}, "", 8) == Label("", None, None, pytest.approx(-0.2))
    assert label_of({"magmom": 1.0}, "p", 8) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("fingerprint_distance", 0.0), ("volume_tolerance", -1.0), ("length_tolerance", 0.0), ("site_tolerance", np.nan),
     ("angle_tolerance", np.inf), ("energy_tolerance", -1e-9)],
)  # fmt: skip
def test_impossible_settings_are_refused(key, value):
    with pytest.raises(ValueError, match=key):
        DuplicateSettings(**{key: value})
