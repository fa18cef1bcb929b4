"""What hostile tests share: a folder of good files to spoil, and the one rule that every refusal has to keep.

The rule: exit code 2, one line on standard error that begins with the command's name and holds what the case says, no
traceback, and nothing half-done: every file in the folder is as it was, and none is new.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

BIN = Path(sys.executable).parent
RECIPE = "source: packing\nelements: [H, He, Li, Be]\natoms: [2, 4]\nspecies: [1, 2]\n"
CAMPAIGN = """\
seed: 7
generate: {recipe: recipe.yaml, seed_set: 4, starts: 2}
label: {labeller: ase, calculator: "ase.calculators.lj:LennardJones", max_jobs: 1}
train: {members: 2, steps: 3}
stop: {iterations: 1}
"""
MAKE = (
    "generate recipe.yaml -n 6 --seed 1 -o starts.extxyz",
    "label-ase starts.extxyz -o labelled --calculator ase.calculators.lj:LennardJones",
    "train labelled/labels.extxyz -o model --members 2 --config quick.yaml",
    "train labelled/labels.extxyz -o stranger --elements Ar --config quick.yaml",
    "explore model starts.extxyz -o explored --config dynamics.yaml",
)


@pytest.fixture(scope="session")
def good_files(tmp_path_factory):
    """A folder with everything that commands take, as commands made it."""
    from aiida_argonaut.cli import argonaut
    from aiida_argonaut.mlip.dataset import Dataset

    folder = tmp_path_factory.mktemp("good")
    texts = {"recipe.yaml": RECIPE, "campaign.yaml": CAMPAIGN, "quick.yaml": "steps: 3\nrecords: 2\n"}
    texts |= {"dynamics.yaml": "steps: 5\nsample_interval: 5\nstop_deviation: 1e6\nmax_force: 1e6\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    before = Path.cwd()
    os.chdir(folder)
    try:
        for command in MAKE:
            done = CliRunner().invoke(argonaut, command.split())
            assert done.exit_code == 0, done.output
        Dataset.load("labelled/labels.extxyz").save("dataset")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(good_files, tmp_path, monkeypatch):
    """A copy of the good files, to spoil; the working folder of the test."""
    monkeypatch.chdir(shutil.copytree(good_files, tmp_path / "work"))
    return tmp_path / "work"


def contents(folder):
    """Every path below a folder, with its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "not a file"
        for path in folder.rglob("*")
    }


def spoil(folder, files):
    """Write, delete (None) or transform (a function of the bytes) files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif callable(content):
            path.write_bytes(content(path.read_bytes()))
        elif isinstance(content, str):
            path.write_text(content)
        else:
            path.write_bytes(content)


@pytest.fixture
def refused(folder, tmp_path):
    """refused(command, said, files): the command keeps the rule; `said` are patterns that its one line must hold."""

    def in_this_process(words, _environment):
        from aiida_argonaut.cli import argonaut

        done = CliRunner().invoke(argonaut, words, prog_name="argonaut")
        raised = done.exception
        assert raised is None or isinstance(raised, SystemExit), f"traceback: {type(raised).__name__}: {raised}"
        return done.exit_code, done.stderr

    def as_a_user(words, environment):
        given = {**os.environ, "AIIDA_PATH": str(tmp_path), **environment}
        done = subprocess.run(
            [BIN / "argonaut", *words], cwd=folder, env={k: v for k, v in given.items() if v is not None},
            capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.returncode, done.stderr

    def checked(command, said, files=None, user=False, environment=None):
        spoil(folder, files or {})
        before = contents(folder)
        words = command.split() if isinstance(command, str) else list(command)
        code, stderr = (as_a_user if user or environment else in_this_process)(words, environment or {})
        lines = [line for line in stderr.splitlines() if line.strip()]
        assert "Traceback" not in stderr, stderr
        assert len(lines) == 1, stderr
        assert code == 2, stderr
        assert lines[0].startswith("argonaut"), lines[0]
        assert 20 < len(lines[0]) < 700
        for pattern in said:
            assert re.search(pattern, lines[0]), f"{pattern!r} is not in: {lines[0]}"
        after = contents(folder)
        assert after == before, f"half-done: {sorted(set(after.items()) ^ set(before.items()))}"
        return lines[0]

    return checked
