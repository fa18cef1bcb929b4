"""argonaut deduplicate: kept frames as they stood, counts that add up, and an account of what was left out."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_argonaut.cli import argonaut
from aiida_argonaut.mlip.frames import (
    Configuration,
    LabelledFrame,
    read_configurations,
    read_frames,
    write_configurations,
    write_frames,
)

FRAME = """2
Lattice="5.0 0.0 0.0 0.0 5.0 0.0 0.0 0.0 5.0" Properties=species:S:1:pos:R:3:charge:R:1 source=user note="a b" n=1e3
H        0.0000000000       0.0 0.0 0.25
He       2.5 0.0 0.123456789012 -1
"""


def run(*arguments):
    return CliRunner().invoke(argonaut, ["deduplicate", *map(str, arguments)])


def cells(seed, n=5):
    random = np.random.default_rng(seed)
    return [Configuration([11, 17, 17], random.uniform(0, 6, (3, 3)), 6 * np.eye(3)) for _ in range(n)]


@pytest.fixture
def files(tmp_path):
    """a.extxyz of five frames; b.extxyz: two others, three of a.extxyz that were moved, and one nearly of it."""
    first, others = cells(0), cells(1, 2)
    moved = [Configuration(c.numbers, c.positions + 1.0, c.cell) for c in first[:3]]
    near = Configuration(first[4].numbers, first[4].positions + 0.004 * np.eye(3), first[4].cell)
    write_configurations(tmp_path / "a.extxyz", first)
    write_configurations(tmp_path / "b.extxyz", [*others, *moved, near])
    return tmp_path / "a.extxyz", tmp_path / "b.extxyz"


def test_exact(files, tmp_path):
    result = run(*files, "-o", tmp_path / "out.extxyz")
    assert result.exit_code == 0
    assert "11 frames read: 8 kept, 3 exact and 0 near duplicates left out" in result.stdout
    assert len(read_configurations(tmp_path / "out.extxyz")) == 8
    account = json.loads((tmp_path / "out.duplicates.json").read_text())
    assert account["read"] == account["kept"] + account["exact"] + account["near"] == 11
    ids = [c.configuration_id for c in read_configurations(files[0])]
    assert len(account["duplicates"]) == 3
    for k, entry in enumerate(account["duplicates"]):
        assert (entry["verdict"], entry["file"], entry["index"]) == ("exact", str(files[1]), k + 2)
        assert entry["repeats"] == {"file": str(files[0]), "index": k, "configuration_id": ids[k]}
        assert entry["configuration_id"] == read_configurations(files[1])[k + 2].configuration_id
        assert entry["distance"] < 1e-6


def test_near(files, tmp_path):
    counts = json.loads(run(*files, "-o", tmp_path / "out.extxyz", "--near", "--json").stdout)
    assert counts == {"read": 11, "kept": 7, "exact": 3, "near": 1, "kept_duplicates": 0}
    entry = json.loads((tmp_path / "out.duplicates.json").read_text())["duplicates"][-1]
    assert (entry["verdict"], entry["index"], entry["repeats"]["index"]) == ("near", 5, 4)
    strict = run(*files, "-o", tmp_path / "out.extxyz", "--near", "--fingerprint-distance", 1e-5, "--json")
    assert json.loads(strict.stdout)["near"] == 0
    (tmp_path / "settings.yaml").write_text("near: true\nsite_tolerance: 1.0e-5\n")
    strict = run(*files, "-o", tmp_path / "out.extxyz", "--config", tmp_path / "settings.yaml", "--json")
    assert json.loads(strict.stdout)["near"] == 0


def test_kept_frames_stay_as_they_stood(tmp_path):
    (tmp_path / "a.extxyz").write_text(FRAME + "\n" + FRAME.rstrip("\n"))
    assert run(tmp_path / "a.extxyz", "-o", tmp_path / "out.extxyz").exit_code == 0
    assert (tmp_path / "out.extxyz").read_text() == FRAME
    (tmp_path / "b.extxyz").write_text(FRAME.replace("2.5 0.0", "2.5 0.1").rstrip("\n"))
    run(tmp_path / "b.extxyz", tmp_path / "a.extxyz", "-o", tmp_path / "out.extxyz")
    assert (tmp_path / "out.extxyz").read_text() == FRAME.replace("2.5 0.0", "2.5 0.1") + FRAME


def test_a_differing_label_is_kept_and_told(tmp_path):
    (one,) = cells(3, 1)
    frames = [LabelledFrame(one, energy, np.zeros((3, 3)), None, "p") for energy in (-3.0, -3.0, -2.9)]
    write_frames(tmp_path / "labels.extxyz", frames)
    result = run(tmp_path / "labels.extxyz", "-o", tmp_path / "out.extxyz")
    assert "1 of the kept are duplicates too" in result.stdout
    assert [frame.energy for frame in read_frames(tmp_path / "out.extxyz")] == [-3.0, -2.9]
    account = json.loads((tmp_path / "out.duplicates.json").read_text())
    assert [(entry["verdict"], entry.get("reason")) for entry in account["duplicates"]] == [
        ("exact", None),
        ("kept", "label"),
    ]
    assert account["kept_duplicates"] == 1


def test_the_same_command_writes_the_same_bytes(files, tmp_path):
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(*files, "-o", tmp_path / name / "out.extxyz", "--near")
        written.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert written[0] == written[1]


def test_a_sharded_folder_is_read_and_its_shards_are_named(files, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    for k in range(2):
        (folder / f"shard-0000{k}.extxyz").write_text(files[0].read_text())
    (folder / "generated.json").write_text('{"complete": true, "asked": 10, "shard_size": 5}')
    counts = json.loads(run(folder, "-o", tmp_path / "out.extxyz", "--json").stdout)
    assert (counts["read"], counts["exact"]) == (10, 5)
    entry = json.loads((tmp_path / "out.duplicates.json").read_text())["duplicates"][0]
    assert (entry["file"], entry["repeats"]["file"]) == tuple(str(folder / f"shard-0000{k}.extxyz") for k in (1, 0))


def test_without_duplicates_the_account_is_empty(files, tmp_path):
    run(files[0], "-o", tmp_path / "out.extxyz")
    assert json.loads((tmp_path / "out.duplicates.json").read_text())["duplicates"] == []
    assert (tmp_path / "out.extxyz").read_text() == files[0].read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n", "holds no frames"),
        (FRAME + "2\nLattice", "frame 1: not readable as extended XYZ: ValueError: the file ends after 0 of 2 atoms"),
        (FRAME + FRAME.replace("He ", "K "), "frame 1: HK: atomic numbers [19] are outside"),
        (FRAME + "-1\n", "frame 1: not readable"),
        (FRAME.replace("0.25", ""), "frame 0: not readable"),
        ("many\n" + FRAME, "frame 0: not readable"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_writes_nothing(tmp_path, text, told):
    (tmp_path / "bad.extxyz").write_text(text)
    result = run(tmp_path / "bad.extxyz", "-o", tmp_path / "out.extxyz")
    assert result.exit_code == 2
    assert f"{tmp_path / 'bad.extxyz'}" in result.stderr
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.extxyz"]


def test_bad_options(files, tmp_path):
    before = files[0].read_text()
    assert run(files[0], "-o", files[0]).exit_code == 2
    assert run(files[0], "-o", tmp_path / "out.txt").exit_code == 2
    assert run(files[0], "-o", tmp_path / "out.extxyz", "--fingerprint-distance", "0.1").exit_code == 2
    assert run(files[0], "-o", tmp_path / "out.extxyz", "--near", "--fingerprint-distance", "-1").exit_code == 2
    assert not (tmp_path / "out.extxyz").exists()
    assert files[0].read_text() == before
