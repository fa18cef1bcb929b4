"""Training frames from anybody's files: the good ones are taken, a bad one is named by file, index and fault."""

import re

import ase
import ase.db
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_argonaut.mlip.dataset import Dataset, DatasetError, import_frames
from aiida_argonaut.mlip.frame_checks import load_training_frames
from aiida_argonaut.mlip.frames import FrameError

ENERGIES = {1: -13.6, 6: -150.0, 8: -430.0}


def atoms(seed=0, symbols=None, positions=None, pbc=None, **results):
    """A frame whose energy follows its composition to 0.1 eV/atom, with forces of about 1 eV/Å."""
    random = np.random.default_rng(seed)
    symbols = symbols or ["CO", "CH4", "H2O", "H2", "CO2"][seed % 5]
    made = ase.Atoms(symbols, cell=9 * np.eye(3), pbc=bool(seed % 2) if pbc is None else pbc)
    made.positions = 9 * random.random((len(made), 3)) if positions is None else positions
    energy = sum(ENERGIES.get(int(z), 0.0) for z in made.numbers) + 0.1 * len(made) * random.normal()
    given = {"energy": energy, "forces": random.normal(size=(len(made), 3)), **results}
    if seed % 3 == 0 and made.pbc.all():
        given.setdefault("stress", random.normal(size=6))
    made.calc = SinglePointCalculator(made, **{key: value for key, value in given.items() if value is not None})
    return made


def scaled(factor, what="energy", seed=41):
    made = atoms(seed)
    made.calc.results[what] = made.calc.results[what] * factor
    return made


def shifted(by):
    made = atoms(40)
    made.calc.results["energy"] += by * len(made)
    return made


GOOD = [atoms(seed) for seed in range(30)]


def written(path, frames):
    ase.io.write(path, list(frames), format="extxyz")
    return path


def test_all_kinds_of_files_at_once(tmp_path):
    xyz, json, database = written(tmp_path / "a.xyz", GOOD[:10]), tmp_path / "b.json", tmp_path / "c.db"
    for path, frames in ((json, GOOD[10:20]), (database, GOOD[20:])):
        with ase.db.connect(path) as rows:
            for frame in frames:
                rows.write(frame)
    dataset, skipped = load_training_frames([xyz, json, database])
    assert (len(dataset), skipped) == (30, [])
    plain, _ = load_training_frames([written(tmp_path / "all.xyz", GOOD)])
    assert dataset.content_hash == plain.content_hash
    assert {frame.configuration.periodic for frame in dataset.frames} == {True, False}
    assert {frame.stress is None for frame in dataset.frames} == {True, False}
    dataset.save(tmp_path / "folder")
    both, skipped = load_training_frames([tmp_path / "folder", xyz])
    assert both.content_hash == dataset.content_hash
    assert [(each.index, each.bad) for each in skipped] == [(index, False) for index in range(10)]
    assert "a.xyz, frame 0: the same as " in str(skipped[0])


BAD = {
    "no forces": (lambda: atoms(40, forces=None), r"no forces; found energy"),
    "NaN energy": (lambda: atoms(40, energy=np.nan), r"NaN"),
    "NaN force": (lambda: atoms(40, "H", forces=np.array([[0, np.inf, 0]])), r"NaN or infinite"),
    "NaN position": (lambda: atoms(40, "H", [[np.nan, 0, 0]]), r"positions or cell hold NaN"),
    "stress": (lambda: atoms(41, stress=np.full(6, np.nan)), r"NaN"),
    "slab": (lambda: atoms(40, pbc=(True, True, False)), r"pbc .* in all three directions or in none"),
    "iron": (lambda: atoms(40, "FeH"), r"HFe: atomic numbers \[26\] are outside H-Ar"),
    "twice": (lambda: atoms(41, "H2", [[0.1, 0, 0], [8.95, 0, 0]]), r"atoms 0 and 1 are 0\.150 Å apart"),
    "flat": (lambda: ase.Atoms("H", cell=[1e-4, 9, 9], pbc=True), r"the cell is too small or too flat"),
    "contradiction": (lambda: scaled(1.01, seed=3), r"stands there 2 times with different labels"),
    "hartree": (lambda: scaled(1 / 27.2114), r"eV/atom where the other frames suggest .*: is it in hartree\?"),
    "kcal": (lambda: scaled(23.0605), r"is it in kcal/mol\?"),
    "code": (lambda: shifted(-80.0), r"is it of another code, method or zero\?"),
    "forces": (lambda: scaled(23.0605, "forces"), r"are they in kcal/mol/Å\?"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_frame_is_named_or_skipped(tmp_path, kind):
    make, message = BAD[kind]
    path = written(tmp_path / "mixed.xyz", [*GOOD[:20], make(), *GOOD[20:]])
    with pytest.raises(FrameError, match=r"mixed\.xyz, frame \d+: ") as caught:
        load_training_frames([path])
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
    dataset, skipped = load_training_frames([path], skip_bad=True)
    found = {3, 20} if kind == "contradiction" else {20}
    assert {each.index for each in skipped} == found
    assert len(dataset) == 31 - len(found)
    assert all(each.bad and re.search(message, each.why) for each in skipped)


def test_suspicions_can_be_set_aside_and_good_frames_raise_none(tmp_path):
    path = written(tmp_path / "x.xyz", [*GOOD, shifted(-80.0)])
    assert len(load_training_frames([path], check_units=False)[0]) == 31
    wide = [atoms(seed, forces=np.full((len(GOOD[seed]), 3), 10.0 ** (seed / 10 - 2))) for seed in range(30)]
    assert len(load_training_frames([written(tmp_path / "wide.xyz", wide)])[0]) == 30


def test_the_first_five_are_listed_and_counted(tmp_path):
    path = written(tmp_path / "x.xyz", [*GOOD, *(atoms(seed, energy=np.nan) for seed in range(40, 48))])
    with pytest.raises(FrameError, match=r"^8 of 38 frames are bad.*frame 34: .*; and 3 more$") as caught:
        load_training_frames([path])
    assert str(caught.value).count("x.xyz") == 1
    assert "frame 35" not in str(caught.value)


def test_labels_under_other_names(tmp_path):
    plain = written(tmp_path / "plain.xyz", GOOD)
    others = []
    for frame in GOOD:
        other = ase.Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)
        other.info["REF_energy"], other.arrays["REF_forces"] = frame.calc.results["energy"], frame.get_forces()
        if "stress" in frame.calc.results:
            other.info["REF_virial"] = -frame.get_stress(voigt=False) * frame.get_volume()
        others.append(other)
    found, _ = load_training_frames([written(tmp_path / "mace.xyz", others)])
    expected, _ = load_training_frames([plain])
    assert [frame.energy for frame in found.frames] == [frame.energy for frame in expected.frames]
    for one, other in zip(found.frames, expected.frames, strict=True):
        assert np.array_equal(one.forces, other.forces)
        assert (one.stress is None) == (other.stress is None)
        assert one.stress is None or np.allclose(one.stress, other.stress)
    others[0].info["dft_energy"] = 1.0
    with pytest.raises(FrameError, match="frame 0: CO: REF_energy and dft_energy differ; call one of them energy"):
        load_training_frames([written(tmp_path / "two.xyz", others)])


def test_a_single_atom_needs_no_forces(tmp_path):
    lone = ase.Atoms("H")
    lone.info["energy"] = -13.6
    dataset, _ = load_training_frames([written(tmp_path / "atom.xyz", [lone])])
    assert not dataset.frames[0].forces.any()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.xyz", "", r"empty\.xyz: holds no frames"),
        ("empty.db", "", r"empty\.db: holds no frames"),
        ("words.xyz", "these are\nno frames\n", r"words\.xyz: not readable as extended XYZ"),
        ("cut.xyz", "3\nenergy=1.0\nH 0 0 0\n", r"cut\.xyz: not readable as extended XYZ"),
        ("plain.db", "no database", r"plain\.db: not readable as an ASE database"),
        ("plain.json", "{", r"plain\.json: not readable as an ASE database"),
    ],
)
def test_a_file_that_is_none_is_refused_even_if_bad_frames_are_skipped(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    good = written(tmp_path / "good.xyz", GOOD)
    with pytest.raises(FrameError, match=message):
        load_training_frames([good, tmp_path / name], skip_bad=True)


def test_nothing_left_missing_files_and_two_protocols(tmp_path):
    path = written(tmp_path / "x.xyz", [atoms(0, energy=np.nan)])
    with pytest.raises(FrameError, match="no frame is left"):
        load_training_frames([path], skip_bad=True)
    for name in ("absent.xyz", "absent.db"):
        with pytest.raises(FrameError, match=rf"{name}: no such file"):
            load_training_frames([tmp_path / name])
    for number in (1, 2):
        made = import_frames(written(tmp_path / "y.xyz", GOOD[number : number + 1]), {"cutoff": number})
        made.save(tmp_path / str(number))
    with pytest.raises(DatasetError, match="cutoff: 1 and 2"):
        load_training_frames([tmp_path / "1", tmp_path / "2"])
    assert len(Dataset.load(tmp_path / "1")) == 1
