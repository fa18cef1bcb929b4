"""What several commands take: seeds, frames, and places to write to, which are tried before anything is computed."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

SEED = click.IntRange(0, 2**53)
"""A seed that every file format and random generator on the way can hold."""
FRAMES = click.Path(exists=True, path_type=Path)
"""Extended XYZ: a file, or a folder that `generate` has written."""


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


def _imported(context: click.Context, parameter: click.Parameter, module: str | None) -> None:
    if module is None:
        return
    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise click.BadParameter(f"{module}: {error}") from error


IMPORT = click.option(
    "--import", "module", expose_value=False, is_eager=True, callback=_imported,
    help="Module of yours that registers an architecture; the current folder counts.",
)  # fmt: skip
"""For architectures of one's own (docs/contract.md)."""


def not_writable(path: Path) -> str | None:
    """Why nothing can be written to a path, or None: its folder, or the nearest one above it, must take new files."""
    place = path.absolute()
    try:
        place.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that no file system takes, or a file for a folder on the way
        return f"{place}: {error.strerror}"
    if path.is_file():
        place = place.parent
    while not os.path.lexists(place):
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"{place}: {error.strerror}"


def companion(output: Path, suffix: str) -> Path:
    """The file with another suffix beside an output file; a usage error where it cannot be written."""
    path = output.with_suffix(suffix)
    problem = f"{path}: is a directory" if path.is_dir() else not_writable(path)
    if problem is not None:
        raise click.UsageError(f"-o {output}: {path.name} beside it cannot be written: {problem}")
    return path


@contextlib.contextmanager
def writing(output: Path) -> Iterator[None]:
    """A full disc, or a folder that has gone meanwhile, ends in one line."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # of a network, not of a file
            raise
        raise click.ClickException(
            f"{error.filename or output} cannot be written: {error.strerror or error}"
        ) from error
