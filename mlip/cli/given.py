"""What several commands take: seeds, and places to write to, which are tried before anything is computed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

SEED = click.IntRange(0, 2**53)
"""A seed that every file format and random generator on the way can hold."""


class OutputPath(click.Path):
    """A file or a folder to write, which may be there or not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error where nothing can be written there."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        problem = not_writable(path)
        if problem is not None:
            self.fail(f"{str(path)!r} cannot be written: {problem}", param, ctx)
        return path


OUTPUT_FILE = OutputPath(dir_okay=False, path_type=Path)
OUTPUT_FOLDER = OutputPath(file_okay=False, path_type=Path)


def not_writable(path: Path) -> str | None:
    """Why nothing can be written to a path, or None: its folder, or the nearest one above it, must take new files."""
    place = path.absolute().parent if path.is_file() else path.absolute()
    while not os.path.lexists(place):
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"{place}: {error.strerror}"
