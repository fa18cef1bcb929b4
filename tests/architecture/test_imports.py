"""Who may import whom: the import-linter contracts hold, and what must stay light or AiiDA-free really does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
FOLDERS = ("mlip", "dft_inputs", "workflows", "provenance_db")
IMPORT_ALL = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError("imports " + name)

sys.meta_path.insert(0, Refuse())
for folder in {folders!r}:
    package = importlib.import_module("aiida_argonaut." + folder)
    names = [info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    assert names, folder
    for name in names:
        importlib.import_module(name)
"""
"""Imports every module of some folders; an import of a blocked package is an ImportError."""


def python(program: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=False)


def imported(program: str) -> set[str]:
    """Top-level packages that a program has imported when it ends."""
    done = python(f"{program}\nimport sys\nprint('\\n'.join(name.partition('.')[0] for name in sys.modules))")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_import_contracts_hold(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_refuses_to_be_imported_under_its_bare_name(folder: str) -> None:
    done = python(f"import {folder}")
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert f"aiida_argonaut.{folder}" in done.stderr


def test_work_chains_and_queries_load_without_torch() -> None:
    done = python(IMPORT_ALL.format(blocked=["torch"], folders=["workflows", "provenance_db"]))
    assert done.returncode == 0, done.stderr


def test_what_computes_loads_without_aiida() -> None:
    blocked = ["aiida", "aiida_pseudo", "aiida_quantumespresso", "plumpy"]
    done = python(IMPORT_ALL.format(blocked=blocked, folders=["mlip", "dft_inputs"]))
    assert done.returncode == 0, done.stderr


def test_dft_inputs_load_without_torch() -> None:
    done = python(IMPORT_ALL.format(blocked=["torch"], folders=["dft_inputs"]))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["aiida_argonaut", "aiida_argonaut.cli", "aiida_argonaut.workflows"])
def test_importing_the_doors_costs_nothing(module: str) -> None:
    assert not imported(f"import {module}") & {"torch", "aiida", "ase", "dask"}


def test_help_costs_nothing() -> None:
    program = "from aiida_argonaut.cli import argonaut\nargonaut(['--help'], standalone_mode=False)"
    assert not imported(program) & {"torch", "aiida", "ase", "dask"}


def test_a_compute_command_runs_without_aiida(tmp_path: Path) -> None:
    arguments = ["generate", str(ROOT / "examples/recipes/small.yaml"), "-n", "2", "--seed", "1"]
    arguments += ["-o", str(tmp_path / "frames.extxyz")]
    program = f"from aiida_argonaut.cli import argonaut\nargonaut({arguments!r}, standalone_mode=False)"
    assert not imported(program) & {"aiida", "torch"}
    assert (tmp_path / "frames.extxyz").is_file()
