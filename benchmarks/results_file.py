"""Results of a benchmark as data: what was asked, and a run per line, written after every run, so that nothing is lost.

What was asked (pseudopotentials, seed, what of the protocol decides a number) stands at the head of the file. Runs of
something else are never mixed in.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any


def load(path: Path, head: dict[str, Any], rows: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The runs so far, under the name `rows`; ends the command if they are of something else than `head` says."""
    found = json.loads(path.read_text()) if path.is_file() else {**head, rows: {}}
    runs: dict[str, Any] = found.pop(rows)
    if found != head:
        parser.error(f"{path.name} is of {found}, asked is {head}; move it away to measure anew")
    return runs


def save(path: Path, head: dict[str, Any], rows: str, runs: dict[str, Any], depth: int = 1) -> None:
    """Write the file whole; a run stands `depth` levels below `rows`, one per line."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(f" {json.dumps(rows)}: {_indented(runs, depth, 1)}")
    temporary = path.with_suffix(".part")
    temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    os.replace(temporary, path)


def _indented(value: Any, depth: int, level: int) -> str:
    if depth == 0 or not isinstance(value, dict):
        return json.dumps(value)
    inside = ",\n".join(
        f"{' ' * (level + 1)}{json.dumps(key)}: {_indented(one, depth - 1, level + 1)}" for key, one in value.items()
    )
    return "{\n" + inside + "\n" + " " * level + "}"
