"""Extended XYZ: what is written fast is what ASE would have written, and folders of shards are one long file."""

import io
import json

import ase.io
import numpy as np
import pytest

from aiida_argonaut.mlip.extxyz import FrameError, frame_text, iterate_atoms, read_atoms
from aiida_argonaut.mlip.frames import Configuration, Origin, read_configurations


@pytest.mark.parametrize("seed", range(10))
def test_written_fast_is_written_as_ase_does(seed):
    rng = np.random.default_rng(seed)
    n, periodic = int(rng.integers(1, 40)), bool(seed % 3)
    configuration = Configuration(
        rng.integers(1, 19, n), rng.normal(0, 10 ** rng.uniform(-3, 3), (n, 3)),
        np.eye(3) * 5 + rng.uniform(-1, 1, (3, 3)) if periodic else np.zeros((3, 3)), (periodic,) * 3,
        Origin("a source", "7/12", 'what "is" this'),
    )  # fmt: skip
    figures = {"ratio": 0.123456, "tiny": 1e-12, "count": 3, "good": True, "formula": "H2O", "miller": "1-10"}
    slow, fast = io.StringIO(), io.StringIO(configuration.to_text(figures))
    atoms = configuration.to_atoms()
    atoms.info.update(figures)
    ase.io.write(slow, atoms, format="extxyz")
    slow.seek(0)
    expected, found = ase.io.read(slow, format="extxyz"), ase.io.read(fast, format="extxyz")
    assert found == expected
    assert found.info == expected.info
    assert list(found.info) == list(expected.info)
    fast.seek(0)
    assert read_configurations(fast)[0].configuration_id == configuration.configuration_id
    assert read_configurations(io.StringIO(configuration.to_text()))[0].origin == configuration.origin


def shard(folder, number, count):
    text = frame_text(np.array([1]), np.zeros((1, 3)), np.eye(3) * 5, (True,) * 3, {"number": number})
    (folder / f"shard-{number:05d}.extxyz").write_text(text * count)


def test_a_complete_folder_is_one_file(tmp_path):
    for number in (1, 0, 2):
        shard(tmp_path, number, number + 1)
    with pytest.raises(FrameError, match="expected a file, or a folder that"):
        read_atoms(tmp_path)
    (tmp_path / "generated.json").write_text(json.dumps({"complete": False}))
    with pytest.raises(FrameError, match="give the same command again"):
        read_atoms(tmp_path)
    (tmp_path / "generated.json").write_text(json.dumps({"complete": True, "asked": 9, "shard_size": 3}))
    assert [atoms.info["number"] for atoms in iterate_atoms(tmp_path)] == [0, 1, 1, 2, 2, 2]
    (tmp_path / "generated.json").write_text("[]")
    with pytest.raises(FrameError, match="expected a file"):
        read_atoms(tmp_path)


def test_shards_are_in_the_order_of_their_numbers(tmp_path):
    for number in range(3):
        shard(tmp_path, 99_998 + number, 1)
    manifest = {"complete": True, "asked": 100_001, "shard_size": 1}
    (tmp_path / "generated.json").write_text(json.dumps(manifest))
    with pytest.raises(FrameError, match=r"shard-00000.extxyz is missing"):
        read_atoms(tmp_path)
    for number in range(99_998):
        (tmp_path / f"shard-{number:05d}.extxyz").touch()  # nothing but losses
    assert [atoms.info["number"] for atoms in iterate_atoms(tmp_path)] == [99_998, 99_999, 100_000]


def test_a_count_beyond_the_file_is_no_endless_loop(tmp_path):
    (tmp_path / "x.extxyz").write_text(f"{10**12}\n\nH 0 0 0\n")
    with pytest.raises(FrameError, match="ends before its last atom"):
        read_atoms(tmp_path / "x.extxyz")
