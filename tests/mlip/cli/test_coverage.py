"""argonaut coverage: tables, JSON, a figure, and one line for what cannot be read."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_argonaut.cli import argonaut
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame, Origin, write_configurations, write_frames


def run(*arguments):
    return CliRunner().invoke(argonaut, ["coverage", *map(str, arguments)])


@pytest.fixture
def starts(tmp_path):
    random = np.random.default_rng(0)
    configurations = [
        Configuration(
            random.integers(1, 19, 4), random.uniform(0, 5, (4, 3)), 5 * np.eye(3), origin=Origin("packing", str(k))
        )
        for k in range(30)
    ]
    write_configurations(tmp_path / "starts.extxyz", configurations)
    return tmp_path / "starts.extxyz"


def test_tables(starts):
    result = run(starts)
    assert result.exit_code == 0
    assert result.stdout.startswith("30 frames, 0 of them not periodic; 120 atoms; ")
    assert "packing" in result.stdout
    assert "missing:" in result.stdout
    assert "atoms per cell: no frames at 1-3, 5-24" in " ".join(result.stdout.split())
    assert max(map(len, result.stdout.splitlines())) <= 120


def test_labelled_files_and_several_files_count(starts, tmp_path):
    frame = LabelledFrame(
        Configuration([2], [[0, 0, 0]], 5 * np.eye(3), origin=Origin("user")), 1.0, np.zeros((1, 3)), None, "p"
    )
    write_frames(tmp_path / "labels.extxyz", [frame])
    document = json.loads(run(starts, tmp_path / "labels.extxyz", "--json").stdout)
    assert document["total"]["frames"] == 31
    assert {name: tally["frames"] for name, tally in document["sources"].items()} == {"packing": 30, "user": 1}
    assert document["missing"]


def test_one_frame_of_so_many(starts):
    document = json.loads(run(starts, "--json", "--every", 7).stdout)
    assert (document["every"], document["total"]["frames"]) == (7, 5)
    assert "1 of 7 counted" in run(starts, "--every", 7).stdout


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figure(starts, tmp_path, ending):
    output = tmp_path / "figures" / f"coverage.{ending}"
    assert run(starts, "-o", output).exit_code == 0
    assert output.stat().st_size > 10_000


def test_a_sharded_folder_is_one_long_file(starts, tmp_path):
    text = starts.read_text()
    (tmp_path / "made").mkdir()
    for k in range(2):
        (tmp_path / "made" / f"shard-0000{k}.extxyz").write_text(text)
    (tmp_path / "made" / "generated.json").write_text('{"complete": true, "asked": 60, "shard_size": 30}')
    assert json.loads(run(tmp_path / "made", "--json").stdout)["total"]["frames"] == 60


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no frames"),
        ('1\nLattice="5 0 0 0 5 0 0 0 5"\nK 0 0 0\n', "frame 0: K: atomic numbers [19] are outside"),
        ('1\nLattice="5 0 0 0 5 0 0 0 5"\nH 0 0 0\n1\npbc="T T T"\nH 0 0 0\n', "frame 1: the cell of a periodic"),
        ('1\nLattice="5 0 0 0 5 0 0 0 5"\nH 0 0 0\n1\npbc="F F F"\nH 0 0 zero\n', "not readable as extended XYZ"),
        ("hello\n", "not readable as extended XYZ"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, told):
    (tmp_path / "bad.extxyz").write_text(text)
    result = run(tmp_path / "bad.extxyz")
    assert result.exit_code == 2
    assert f"{tmp_path / 'bad.extxyz'}" in result.stderr
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["-o", "figure.gif"], ["--every", "0"]])
def test_bad_options(starts, arguments):
    assert run(starts, *arguments).exit_code == 2
