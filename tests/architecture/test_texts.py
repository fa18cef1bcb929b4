"""What is written agrees with what is there: docs with declarations, texts without a machine's paths, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("mlip", "dft_inputs", "workflows", "provenance_db", "src/aiida_argonaut", "benchmarks")
LEFT_OUT = {".git", ".venv", ".aiida", "demo", "build", "dist", "__pycache__"}
TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".in", ".json", ".cfg", ""}
MACHINE_PATH = re.compile(r"(?<![\w.\-])/(?:work|root|home/\w+|Users/\w+)/|\.\./" + "shared")
VAGUE = {"utils", "util", "common", "misc", "helpers", "helper"}


def texts() -> Iterator[Path]:
    """All text files of the checkout that are, or may become, part of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.splitlines()]
    else:
        paths = [path for path in ROOT.rglob("*") if not LEFT_OUT & set(path.relative_to(ROOT).parts)]
    yield from (path for path in paths if path.is_file() and path.suffix in TEXTS)


def modules() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_there_is_something_to_look_at() -> None:
    assert len(modules()) > 50
    assert len(list(texts())) > len(modules())


def test_no_text_names_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


def test_the_pattern_sees_such_a_path() -> None:
    assert MACHINE_PATH.search("open('" + "/home/" + "ada/data')")
    assert not MACHINE_PATH.search("src/aiida_argonaut/work/x and ./home")


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {part for path in modules() for part in (path.stem, *path.relative_to(ROOT).parent.parts)}
    assert not names & VAGUE


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    without = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    without += [name for name, node in public(tree) if not ast.get_docstring(node)]
    assert without == []


def public(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions and classes, and public methods of public classes."""
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{name}", method) for name, method in public(node))


def test_files_are_not_too_long() -> None:
    """As a rule at most 300 lines; one in ten may be longer."""
    lengths = sorted(len(path.read_text().splitlines()) for path in modules())
    assert lengths[int(0.9 * len(lengths))] <= 300
