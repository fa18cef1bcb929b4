"""Extended XYZ files and folders of them: read as ASE reads them, written whole or not at all.

A sharded folder holds `shard-00000.extxyz`, `shard-00001.extxyz`, ... and says in `generated.json` when it is complete;
its shards in order are one long file.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

MANIFEST = "generated.json"
"""What is in a sharded folder; written when it is complete."""
FARTHEST = 1e6
"""Å, largest coordinate that is read."""
REACH = 6.0
"""Å, farther than anything looks for neighbours."""
MOST_IMAGES = 1e5
"""Images of an atom within REACH that are borne: a cube with edges of 0.26 Å has so many."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:()")
"""Characters that need no quotes."""


class FrameError(ValueError):
    """A frame or a file of frames that cannot be used: says which one, and why."""


def read_atoms(path: str | Path | TextIO) -> list[ase.Atoms]:
    """All frames of an extended XYZ file or a sharded folder; FrameError names the file if it cannot be read."""
    return list(iterate_atoms(path))


def iterate_atoms(path: str | Path | TextIO, sensible: bool = True) -> Iterator[ase.Atoms]:
    """The same, one frame at a time; without `sensible` the caller has to ask `beyond_sense` of each."""
    folder = isinstance(path, (str, Path)) and os.path.isdir(path)
    files = shards(path) if folder else [path]  # type: ignore[arg-type]
    index = 0
    for file in files:
        if folder and Path(file).stat().st_size == 0:  # type: ignore[arg-type]  # all of it was lost
            continue
        for atoms in _frames(file):
            if sensible and (problem := beyond_sense(atoms)):
                raise FrameError(f"{file_name(path)}, frame {index}: {problem}")
            yield atoms
            index += 1
    if not index:
        raise FrameError(f"{file_name(path)}: holds no frames")


def is_sharded(path: str | Path) -> bool:
    """Whether a path is a sharded folder, complete or not: one with a manifest."""
    return (Path(path) / MANIFEST).is_file()


def shards(folder: str | Path) -> list[Path]:
    """The files of a sharded folder, in order; FrameError if it is none, not complete, or lacks a file."""
    try:
        manifest = json.loads((Path(folder) / MANIFEST).read_text())
        complete = manifest["complete"]
        count = -(-int(manifest["asked"]) // int(manifest["shard_size"])) if complete else 0
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FrameError(f"{folder}: expected a file, or a folder that `argonaut generate` has written") from error
    if not complete:
        raise FrameError(f"{folder}: its generation did not come to its end; give the same command again")
    there = {path.name for path in Path(folder).glob("shard-*.extxyz")}
    missing = next((name for name in map(shard_name, range(max(count, 1))) if name not in there), None)
    if missing is not None:
        raise FrameError(f"{folder}: {missing} is missing; give the command that wrote the folder again")
    return [Path(folder) / shard_name(number) for number in range(count)]


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.extxyz"


def write_atoms(path: str | Path, frames: Iterable[ase.Atoms]) -> None:
    """Write ASE atoms as extended XYZ, whole or not at all (an interrupted write leaves no half file)."""
    import ase.io  # a third of a second, and of no use to those who only make configurations

    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("w") as handle:
            for atoms in frames:
                ase.io.write(handle, atoms, format="extxyz")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def frame_text(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: tuple[bool, bool, bool],
    info: Mapping[str, Any],
) -> str:
    """One frame without labels, ten times as fast as ASE writes it, and read by ASE as what ASE would have written.

    :param numbers: (n,) atomic numbers.
    :param positions: (n, 3) Å, written with 8 decimals.
    :param cell: (3, 3) Å rows.
    :param info: text, numbers and truth values.
    """
    n = len(numbers)
    lattice = " ".join(map(repr, cell.ravel().tolist()))
    periodic = " ".join("T" if p else "F" for p in pbc)
    notes = "".join(f" {key}={_value(value)}" for key, value in info.items())
    columns: list[Any] = [None] * (4 * n)
    columns[0::4] = [chemical_symbols[z] for z in numbers.tolist()]
    columns[1::4], columns[2::4], columns[3::4] = positions.T.tolist()
    rows = ("%-2s %16.8f %16.8f %16.8f\n" * n) % tuple(columns)
    return f'{n}\nLattice="{lattice}" Properties=species:S:1:pos:R:3{notes} pbc="{periodic}"\n{rows}'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value)
    if text and _PLAIN.issuperset(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _frames(path: str | Path | TextIO) -> Iterator[ase.Atoms]:
    import ase.io
    from ase.io.formats import open_with_compression

    name = file_name(path)
    if isinstance(path, (str, Path)) and not is_file(path):
        raise FrameError(f"{name}: no such file")
    try:
        opened = open_with_compression(str(path)) if isinstance(path, (str, Path)) else contextlib.nullcontext(path)
        with opened as handle:
            lines: Any = _Lines(handle)
            yield from ase.io.iread(lines, index=":", format="extxyz")
    except Exception as error:  # ase raises many kinds, none of which names the file
        raise FrameError(f"{name}: not readable as extended XYZ: {type(error).__name__}: {error}") from error


def beyond_sense(atoms: ase.Atoms) -> str:
    """Why a frame is none that loops over neighbours and images would ever be done with; '' for all others."""
    cell: NDArray[np.float64] = np.asarray(atoms.cell.array)
    longest = max(float(np.abs(cell).max()), float(np.abs(atoms.positions).max(initial=0.0)))
    if FARTHEST < longest < np.inf:
        return f"a length of {longest:g} Å: expected {FARTHEST:g} at most"
    faces = np.sqrt((np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]) ** 2).sum(axis=1))
    volume = abs(float(cell[0] @ np.cross(cell[1], cell[2])))
    if not (atoms.pbc.any() and 0 < volume < np.inf):
        return ""
    images = float(np.prod(1 + 2 * REACH * faces / volume))
    return f"{images:.0e} images within {REACH:g} Å: the cell is too small or too flat" if images > MOST_IMAGES else ""


def is_file(path: str | Path) -> bool:
    """Whether there is a file; a name that no file system takes is none."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


class _Lines:
    """A text file for ASE, which would go on reading beyond its end for as many lines as a frame says it has atoms."""

    def __init__(self, handle: IO[Any]) -> None:
        self.seek, self.tell = handle.seek, handle.tell
        self._readline, self._beyond = handle.readline, 0

    def readline(self) -> str:
        line = self._readline()
        if not line:
            self._beyond += 1
            if self._beyond > 100:
                raise EOFError("the file ends before its last atom")
        return line

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if line := self.readline():
            return line
        raise StopIteration


def file_name(path: str | Path | TextIO) -> str:
    """What to call a file in messages."""
    return str(path) if isinstance(path, (str, Path)) else getattr(path, "name", "stream")
