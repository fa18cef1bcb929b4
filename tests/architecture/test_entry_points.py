"""Entry points become database content: every one loads, and nothing that is stored goes without one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from aiida.engine import CalcJob, WorkChain
from aiida.orm import Data
from aiida.parsers import Parser
from aiida.plugins.entry_point import load_entry_point

from aiida_argonaut import workflows
from aiida_argonaut.workflows.setup import CACHED

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
GROUPS: dict[str, dict[str, str]] = PYPROJECT["project"]["entry-points"]
DECLARED = [(group, name, target) for group, entries in GROUPS.items() for name, target in entries.items()]
KINDS = {"aiida.workflows": WorkChain, "aiida.calculations": CalcJob, "aiida.parsers": Parser, "aiida.data": Data}


def definitions() -> Iterator[tuple[str, str, Any]]:
    """(group, 'module:name', object) of every process, data, and parser class and calcfunction of workflows."""
    names = [info.name for info in pkgutil.walk_packages(workflows.__path__, workflows.__name__ + ".")]
    modules = [importlib.import_module(name) for name in names]  # all of them, before a class is called childless
    for module in modules:
        for name, found in vars(module).items():
            if getattr(found, "__module__", None) != module.__name__:
                continue
            if getattr(found, "is_process_function", False):
                yield "aiida.calculations", f"{module.__name__}:{name}", found
            elif inspect.isclass(found):
                groups = [group for group, kind in KINDS.items() if issubclass(found, kind)]
                if groups and not _is_base(found):
                    yield groups[0], f"{module.__name__}:{name}", found


def _is_base(found: type) -> bool:
    """Whether it only serves as a parent of others of ours."""
    return any(child.__module__.startswith(workflows.__name__) for child in found.__subclasses__())


@pytest.mark.parametrize(("group", "name", "target"), DECLARED)
def test_a_declared_entry_point_loads_what_it_names(group: str, name: str, target: str) -> None:
    module, _, attribute = target.partition(":")
    assert load_entry_point(group, name) is getattr(importlib.import_module(module), attribute)


def test_the_installed_entry_points_are_those_of_pyproject() -> None:
    installed = {(group, point.name, point.value) for group in GROUPS for point in entry_points(group=group)}
    ours = {point for point in installed if point[1].startswith("argonaut.")}
    assert ours == set(DECLARED), "the installation is older than pyproject.toml: run `pip install -e .` again"


def test_every_name_has_our_prefix() -> None:
    assert all(name.startswith("argonaut.") for _, name, _ in DECLARED)


def test_everything_that_is_stored_has_an_entry_point() -> None:
    found = {(group, target) for group, target, _ in definitions()}
    assert found == {(group, target) for group, _, target in DECLARED if group in KINDS}


def test_every_calculation_job_has_the_parser_of_its_name() -> None:
    jobs = [name for group, name, _ in DECLARED if group == "aiida.calculations" and _is_job(name)]
    assert jobs
    for name in jobs:
        default = (
            load_entry_point("aiida.calculations", name).spec().inputs["metadata"]["options"]["parser_name"].default
        )
        assert default == name
        assert name in GROUPS["aiida.parsers"]


def _is_job(name: str) -> bool:
    return inspect.isclass(load_entry_point("aiida.calculations", name))


def test_what_setup_caches_exists() -> None:
    for cached in CACHED:
        group, _, name = cached.partition(":")
        load_entry_point(group, name)
