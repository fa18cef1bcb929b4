"""Labels from a table: found by content, however a file has wrapped or rounded, and never guessed."""

import dataclasses

import numpy as np
import pytest

from aiida_argonaut.mlip.dataset import Dataset, DatasetError, protocol_hash_of
from aiida_argonaut.mlip.frames import Configuration, FrameError, LabelledFrame, Origin, write_atoms
from aiida_argonaut.mlip.labelling import Loss
from aiida_argonaut.mlip.table import LOSSES, TOLERANCE, label_from_table, load_table


def entry(seed, protocol="", periodic=True):
    random = np.random.default_rng(seed)
    cell = (np.eye(3) * 4 + 0.4 * random.normal(size=(3, 3))) * periodic
    positions = random.random((3, 3)) @ (cell if periodic else 4 * np.eye(3))
    configuration = Configuration([1, 8, 1], positions, cell, (periodic,) * 3, Origin("table", str(seed)))
    stress = 0.1 * np.eye(3) if periodic else None
    return LabelledFrame(configuration, random.normal(), random.normal(size=(3, 3)), stress, protocol)


def changed(frame, **parts):
    """The configuration of a frame with some parts replaced, from another origin."""
    return dataclasses.replace(frame.configuration, origin=Origin("asked", "7", "cparent"), **parts)


def write_bare(path, frames):
    """Write labelled frames as a program that knows nothing of protocols would."""
    atoms = [frame.to_atoms() for frame in frames]
    for each in atoms:
        each.info.clear()
    write_atoms(path, atoms)


@pytest.fixture
def table():
    return Dataset(tuple(entry(seed, periodic=seed < 8) for seed in range(10)))


def wrapped(frame, digits=8):
    shifts = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1]]) @ frame.configuration.cell
    return changed(
        frame,
        positions=np.round(frame.configuration.positions + shifts, digits),
        cell=np.round(frame.configuration.cell, digits),
    )


@pytest.mark.parametrize("change", [changed, wrapped, lambda frame: wrapped(frame, digits=4)])
def test_the_same_is_found_and_keeps_the_asked_identity(table, change):
    asked = [change(frame) for frame in table.frames]
    found = list(label_from_table(asked[::-1], table))[::-1]
    for frame, configuration, label in zip(table.frames, asked, found, strict=True):
        assert isinstance(label, LabelledFrame)
        assert label.configuration is configuration
        assert label.energy == frame.energy
        assert np.array_equal(label.forces, frame.forces)
        assert label.configuration.origin.source == "asked"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {"positions": c.positions + np.array([[0, 0, 3 * TOLERANCE], [0, 0, 0], [0, 0, 0]])},
        lambda c: {"cell": c.cell + 3 * TOLERANCE},
        lambda c: {"numbers": c.numbers[::-1], "positions": c.positions[::-1]},
        lambda c: {"positions": c.positions + 0.5},
        lambda c: {"numbers": [8, 1, 1]},
        lambda c: {"pbc": (False,) * 3},
    ],
)
def test_anything_else_is_not_in_the_table(table, change):
    asked = changed(table.frames[0], **change(table.frames[0].configuration))
    (result,) = label_from_table([asked], table)
    assert isinstance(result, Loss)
    assert (result.reason, result.configuration_id) == (LOSSES[0], asked.configuration_id)
    assert result.source == "asked"


def test_near_entries_with_other_labels_are_a_loss_but_an_exact_one_decides():
    one = entry(0)
    other = dataclasses.replace(one, configuration=changed(one, cell=one.configuration.cell + 1e-4), energy=one.energy)
    between = changed(one, cell=one.configuration.cell + 5e-5)
    (found,) = label_from_table([between], Dataset((one, other)))
    assert found.energy == one.energy
    other = dataclasses.replace(other, energy=one.energy + 0.01)
    (lost,) = label_from_table([between], Dataset((one, other)))
    assert lost.reason == LOSSES[1]
    exact = list(label_from_table([one.configuration, other.configuration], Dataset((one, other))))
    assert [label.energy for label in exact] == [one.energy, other.energy]


def test_the_protocol_is_the_tables_own_or_names_its_content(table, tmp_path):
    write_bare(tmp_path / "bare.extxyz", table.frames)
    bare = load_table(tmp_path / "bare.extxyz")
    assert bare.protocol["table"] == table.content_hash
    assert bare.protocol_hash == protocol_hash_of(bare.protocol)
    assert {label.protocol_hash for label in label_from_table([bare.frames[0].configuration], table)} == {
        bare.protocol_hash
    }
    stamped = Dataset(tuple(entry(seed, "pown") for seed in range(3)), {"code": "own"})
    stamped.save(tmp_path / "own")
    own = load_table(tmp_path / "own")
    assert (own.protocol, own.protocol_hash) == ({"code": "own"}, "pown")
    write_bare(tmp_path / "mixed.extxyz", [entry(1)])
    with (tmp_path / "mixed.extxyz").open("a") as handle:
        handle.write((tmp_path / "own" / "frames.extxyz").read_text())
    with pytest.raises(DatasetError, match=r"2 protocols, \(none\), pown"):
        load_table(tmp_path / "mixed.extxyz")


def test_a_table_that_contradicts_itself_is_refused(tmp_path):
    one = entry(0)
    write_bare(tmp_path / "t.extxyz", [one, entry(1), dataclasses.replace(one, energy=one.energy + 1e-3)])
    with pytest.raises(FrameError, match=r"frames 0 and 2: H2O: the same configuration with different labels"):
        load_table(tmp_path / "t.extxyz")
