"""argonaut generate as a person runs it: real processes, killed and run again."""

import hashlib
import json
import os
import signal
import subprocess
import time

import pytest
from click.testing import CliRunner
from distributed import LocalCluster

from aiida_argonaut.cli import argonaut
from aiida_argonaut.mlip.extxyz import read_atoms

RECIPE = "sources:\n- {source: packing, weight: 3}\n- {source: dimers, weight: 1}\n- {source: clusters, weight: 1}\n"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def run(*arguments):
    return CliRunner().invoke(argonaut, ["generate", *map(str, arguments)])


def start(*arguments):
    command = ["argonaut", "generate", *map(str, arguments)]
    return subprocess.Popen(
        command,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )


def journal(folder):
    path = folder / "shards.jsonl"
    return path.read_text().splitlines() if path.is_file() else []


def wait_for_shards(process, folder, number):
    deadline = time.monotonic() + 120
    while len(journal(folder)) < number:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def whole(folder):
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("shard-*.extxyz")))).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_run_again_is_undisturbed(recipe, tmp_path, blow):
    arguments = (recipe, "-n", 12_000, "--seed", 5, "--shard-size", 200)
    undisturbed = run(*arguments, "--workers", 1, "-o", tmp_path / "undisturbed")
    assert undisturbed.exit_code == 0
    folder = tmp_path / "killed"
    process = start(*arguments, "--workers", 2, "-o", folder)
    wait_for_shards(process, folder, 10)
    if blow == signal.SIGKILL:
        os.killpg(process.pid, blow)
    else:
        process.send_signal(blow)
    assert process.wait(60) == (-signal.SIGKILL if blow == signal.SIGKILL else 130)
    begun = journal(folder)
    assert 10 <= len(begun) < 60
    assert not list(folder.glob("shard-000.extxyz.partial"))
    again = run(*arguments, "--workers", 2, "-o", folder, "--json")
    assert again.exit_code == 0
    assert whole(folder) == whole(tmp_path / "undisturbed") == json.loads(again.stdout.splitlines()[-1])["sha256"]
    assert journal(folder)[: len(begun)] == begun
    assert sorted(json.loads(line)["shard"] for line in journal(folder)) == list(range(60)), "none twice"


def test_a_running_scheduler_makes_the_same(recipe, tmp_path):
    with LocalCluster(n_workers=1, dashboard_address=None, silence_logs=50) as cluster:
        address = cluster.scheduler_address
        shared = run(recipe, "-n", 30, "--shard-size", 10, "--scheduler", address, "-o", tmp_path / "a")
    alone = run(recipe, "-n", 30, "-o", tmp_path / "b.extxyz")
    assert (shared.exit_code, alone.exit_code) == (0, 0)
    assert whole(tmp_path / "a") == hashlib.sha256((tmp_path / "b.extxyz").read_bytes()).hexdigest()
    assert len(read_atoms(tmp_path / "a")) == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out"], "-n: expected a number of configurations"),
        (["-n", "3", "--workers", "2", "--scheduler", "tcp://a:1", "-o", "out"], "expected one of them"),
        (["-n", "3", "-o", "taken"], "expected a folder, or a name in .extxyz"),
        (["-n", "3", "-o", "folder.extxyz"], "expected a file"),
        (["-n", "3", "-o", "no/of/theirs"], None),
        (["-n", "0", "-o", "out"], "0 is not in the range"),
        (["-n", "3", "--workers", "0", "-o", "out"], "0 is not in the range"),
    ],
)
def test_what_cannot_be(recipe, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "folder.extxyz").mkdir()
    result = run("recipe.yaml", *arguments)
    if message is None:
        assert (result.exit_code, len(read_atoms("no/of/theirs"))) == (0, 3)
    else:
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
        assert (tmp_path / "taken").read_text() == "mine"
        assert not (tmp_path / "out").exists()


def test_counts_need_no_number(tmp_path):
    (tmp_path / "recipe.yaml").write_text("sources:\n- {source: packing, count: 4}\n- {source: dimers, count: 3}\n")
    assert run(tmp_path / "recipe.yaml", "-o", tmp_path / "all.extxyz").exit_code == 0
    assert [atoms.info["source"] for atoms in read_atoms(tmp_path / "all.extxyz")] == ["packing"] * 4 + ["dimers"] * 3
    result = run(tmp_path / "recipe.yaml", "-n", 8, "-o", tmp_path / "more.extxyz")
    assert (result.exit_code, "end after 7 configurations" in result.output) == (2, True)


def test_what_is_left_out_on_request_is_said(tmp_path):
    (tmp_path / "good.xyz").write_text("2\n\nC 0 0 0\nO 0 0 1.13\n")
    (tmp_path / "bad.xyz").write_text("1\n\nFe 0 0 0\n")
    (tmp_path / "recipe.yaml").write_text("{source: user, files: [good.xyz, bad.xyz], skip_unusable: true}")
    result = run(tmp_path / "recipe.yaml", "-o", tmp_path / "own.extxyz")
    assert result.exit_code == 0
    assert "left out: bad.xyz, frame 0: Fe: atomic numbers [26] are outside H-Ar" in result.output
    account = json.loads((tmp_path / "own.losses.json").read_text())
    assert (account["made"], account["lost"], len(account["left_out"])) == (1, [], 1)
