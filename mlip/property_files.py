"""Entries of property files in all their forms, as the files have them; property_data.py makes sense of them.

Nothing of a file is believed: its size after unpacking is bounded, no name in it leads out of its folder, and pickles
are not read, for they run code.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import reprlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from .extxyz import FrameError, is_file, iterate_atoms

STRUCTURES = ("atoms", "structure", "cif")
"""Keys of JSON entries under which a structure stands."""
NAMES = ("jid", "material_id", "id")
"""Keys under which the identifier in a database stands."""
MISSING = ("", "na", "n/a")
"""Texts that say that there is no value; JARVIS writes "na"."""
CGCNN_TABLE = "id_prop.csv"
LARGEST = 4 * 2**30
"""Bytes of an unpacked file that are read; the largest of the public files have some 1e9."""
FORMS = "a JSON list or table, JSON lines, extended XYZ, any of them gzipped, a zip with one JSON file"


class PropertyError(ValueError):
    """A target, or a file of properties, that cannot be used: says what was given and what is expected."""


class Entry(NamedTuple):
    """A structure and all that a file says about it."""

    place: str
    """File and number of the entry, for messages."""
    name: str
    """Identifier in the database, or file#index."""
    values: Mapping[str, Any]
    """Key -> value, of any type."""
    structure: Any
    """CIF text, dict, ASE atoms, or None where there is none."""


def is_missing(given: Any) -> bool:
    """Whether what stands in a value's place says that there is none."""
    return given is None or (isinstance(given, str) and given.strip().lower() in MISSING)


def read_entries(path: Path, target: str) -> Iterator[Entry]:
    """Entries of a file, or of a CGCNN folder, whose nameless values get the key `target`; raises PropertyError."""
    if path.name == CGCNN_TABLE:
        path = path.parent
    if os.path.isdir(path):
        yield from _cgcnn(path, target)
        return
    text = _text(path)
    start = text.lstrip()[:1]
    if start and start in "[{":
        yield from _json_entries(text, path)
    elif start.isdigit():
        yield from _frames(text, path)
    else:
        given = f"starts with {reprlib.repr(text.lstrip()[:20])}" if start else "is empty"
        raise PropertyError(f"{path}: {given}; expected {FORMS}, or a folder with {CGCNN_TABLE}")


def _cgcnn(folder: Path, target: str) -> Iterator[Entry]:
    table = folder / CGCNN_TABLE
    if not is_file(table):
        raise PropertyError(f"{folder}: a folder without {CGCNN_TABLE}; expected one with it and CIF files, or a file")
    try:
        rows = list(csv.reader(io.StringIO(_text(table))))
    except csv.Error as error:
        raise PropertyError(f"{table}: not readable as lines 'id,value': {error}") from error
    for index, row in enumerate(rows):
        if not row:
            continue
        place = f"{table}, row {index + 1}"
        if len(row) != 2:
            raise PropertyError(f"{place}: {len(row)} columns; expected two, 'id,value'")
        name, given = row[0].strip(), row[1].strip()
        if not name or Path(name).name != name or "\\" in name or "\0" in name:
            raise PropertyError(f"{place}: {name!r} is no identifier; expected the name of a CIF file in the folder")
        value = _parsed_number(given, place)
        structure = _text(folder / f"{name}.cif", errors="replace")  # authors' names in whatever encoding
        yield Entry(place, name, {target: value}, structure)


def _parsed_number(given: str, place: str) -> float | None:
    if is_missing(given):
        return None
    try:
        return float(given)
    except ValueError as error:
        raise PropertyError(f"{place}: {reprlib.repr(given)} is no number; expected 'id,value', no header") from error


def _frames(text: str, path: Path) -> Iterator[Entry]:
    stream = io.StringIO(text)
    stream.name = str(path)
    try:
        for index, atoms in enumerate(iterate_atoms(stream, sensible=False)):
            values = {**(atoms.calc.results if atoms.calc is not None else {}), **atoms.info}
            yield Entry(f"{path}, frame {index}", _name(values, path, index), values, atoms)
    except FrameError as error:
        raise PropertyError(" ".join(str(error).split())) from error


def _json_entries(text: str, path: Path) -> Iterator[Entry]:
    for index, (place, row) in enumerate(_rows(text, path)):
        if not isinstance(row, Mapping):
            raise PropertyError(f"{place}: is {reprlib.repr(row)}; expected a mapping with a structure and values")
        given = [row[key] for key in STRUCTURES if row.get(key) is not None]
        structure = next((each for each in given if isinstance(each, (Mapping, str))), given[0] if given else None)
        yield Entry(place, _name(row, path, index), row, structure)


def _rows(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    """(place, entry) of each entry, which may be anything yet."""
    try:
        document = _parsed(text, path)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or not text.lstrip().startswith("{"):
            raise PropertyError(f"{path}: not valid JSON: {error}") from error
        yield from _lines(text, path)
        return
    if isinstance(document, dict) and {"columns", "data"} <= document.keys():
        document = _table(document, path)
    elif isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]  # as the Materials Project's web interface answers
    elif isinstance(document, dict) and any(key in document for key in STRUCTURES):
        document = [document]
    elif isinstance(document, dict):
        given = reprlib.repr(list(document))
        raise PropertyError(f"{path}: a mapping with the keys {given}; expected a list of entries, or a table")
    yield from ((f"{path}, entry {index}", row) for index, row in enumerate(document))


def _lines(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            yield place, _parsed(line, path)
        except json.JSONDecodeError as error:
            raise PropertyError(f"{place}: not valid JSON: {error.msg}") from error


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else f"a number too long: {error}"
        raise PropertyError(f"{path}: not readable as JSON: {problem}") from error


def _table(document: dict[str, Any], path: Path) -> Iterator[Any]:
    columns, rows, index = document["columns"], document["data"], document.get("index")
    if not (isinstance(columns, list) and all(isinstance(key, str) for key in columns) and isinstance(rows, list)):
        raise PropertyError(f"{path}: a table without a list of columns, or without rows")
    names = index if isinstance(index, list) and len(index) == len(rows) else [None] * len(rows)
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        if not isinstance(row, list) or len(row) != len(columns):
            given = f"{len(row)} columns" if isinstance(row, list) else reprlib.repr(row)
            raise PropertyError(f"{path}, entry {number}: {given}; expected {len(columns)} columns")
        values = dict(zip(columns, row, strict=True))
        yield {"id": name, **values} if isinstance(name, str) else values


def _name(values: Mapping[str, Any], path: Path, index: int) -> str:
    given = (values.get(key) for key in NAMES)
    known = (str(each) for each in given if isinstance(each, (str, int)) and not isinstance(each, bool))
    return next((each for each in known if each), f"{path}#{index}")


def _text(path: Path, errors: str = "strict") -> str:
    """What a file holds, unpacked, as text; raises PropertyError."""
    if not is_file(path):
        raise PropertyError(f"{path}: no such file")
    try:
        with _opened(path) as stream:
            content = _bounded(stream, path)
    except PropertyError:
        raise
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, lzma.LZMAError, zlib.error) as error:
        raise PropertyError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    try:
        return content.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise PropertyError(f"{path}: is no text (UTF-8); expected {FORMS}; pickles are not read") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(file) as stream:
                yield stream  # type: ignore[misc]
        elif start == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive, archive.open(_member(archive, path)) as member:
                yield member
        else:
            yield file


def _member(archive: zipfile.ZipFile, path: Path) -> str:
    files = [name for name in archive.namelist() if name.endswith((".json", ".jsonl"))]
    shown = [name for name in files if not name.startswith("__MACOSX/")]
    if len(shown) != 1:
        raise PropertyError(f"{path}: holds {len(shown)} JSON files, {reprlib.repr(shown)}; expected one: unpack it")
    return shown[0]


def _bounded(stream: IO[bytes], path: Path) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := stream.read(2**24):
        size += len(part)
        if size > LARGEST:
            raise PropertyError(f"{path}: holds more than {LARGEST / 2**30:.3g} GiB; split it")
        parts.append(part)
    return b"".join(parts)
