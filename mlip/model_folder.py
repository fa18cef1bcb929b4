"""What a model folder says about itself, read with suspicion: nothing is unpickled, and nothing large is allocated.

A model folder may come from anybody. Before any number of it is used its documents must be plain JSON of a sensible
size and depth, without NaN, of a format that is known; hyperparameters must have sizes that networks have; and the
header of model.safetensors must describe exactly the bytes that are there, as floating-point tensors named
'member.<k>/<parameter>'. Needs neither torch nor numpy.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

FORMAT = 1
"""Version of config.json."""
KEYS = ("format", "architecture", "preset", "config", "cutoff", "elements", "n_members", "baseline")
"""What config.json holds, all of it needed."""
LARGEST_DOCUMENT = 2**24
"""Bytes of config.json and card.json."""
LARGEST_LOG = 2**28
"""Bytes of metrics.jsonl."""
LARGEST_HEADER = 2**24
"""Bytes of the header of model.safetensors."""
LARGEST_SIZE = 4096
"""Of any whole number among the hyperparameters: widths, blocks, basis functions."""
FARTHEST_CUTOFF = 20.0
"""Å; within it an atom of a dense solid has some 6000 neighbours."""
WIDTHS = {"F32": 4, "F64": 8}
"""Bytes of the types that weights may have."""
NAME = re.compile(r"member\.(0|[1-9]\d{0,5})/([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)")
"""Of a tensor."""


class ModelFilesError(ValueError):
    """Model folders that cannot be read or joined."""


@dataclass(frozen=True)
class ModelDocuments:
    """The parts of a model folder that are text."""

    config: dict[str, Any]
    card: dict[str, Any]
    """Empty where there is none."""
    metrics: tuple[dict[str, Any], ...]
    """Empty where there are none."""


def read_model_folder(folder: str | Path) -> ModelDocuments:
    """The documents of a model folder, after everything the head of this file says has been checked.

    Raises ModelFilesError, one line that names folder and file.
    """
    source = Path(folder)
    try:
        config = read_document(source / "config.json")
        check_config(config)
        check_weights(source / "model.safetensors")
        card = read_document(source / "card.json") if (source / "card.json").exists() else {}
        metrics = _lines(source / "metrics.jsonl") if (source / "metrics.jsonl").exists() else ()
    except ModelFilesError as error:
        raise ModelFilesError(f"{source}: the model folder cannot be used: {error}") from error
    return ModelDocuments(config, card, metrics)


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ModelFilesError for anything else, and for NaN or infinity in it."""
    document = _parsed(path.name, _text(path, LARGEST_DOCUMENT))
    if not isinstance(document, dict):
        raise ModelFilesError(f"{path.name} holds a {type(document).__name__}, expected a JSON object")
    return document


def check_config(config: Mapping[str, Any]) -> None:
    """Raise ModelFilesError for another format, missing or unknown keys, and numbers that no model has."""
    found = config.get("format")
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        advice = "; a newer aiida-argonaut wrote it: update this one" if newer else ""
        raise ModelFilesError(f"config.json has format {found!r}, this version reads {FORMAT}{advice}")
    for key in KEYS:
        if key not in config:
            raise ModelFilesError(f"config.json lacks the key '{key}'; copy or train the model again")
    if unknown := sorted(config.keys() - set(KEYS)):
        raise ModelFilesError(f"config.json has the unknown key {unknown[0]!r}; known keys: {', '.join(KEYS)}")
    for key, kind in (("architecture", str), ("preset", str), ("config", dict), ("elements", list), ("baseline", dict)):
        if not isinstance(config[key], kind):
            raise ModelFilesError(f"config.json: {key} is a {type(config[key]).__name__}, expected a {kind.__name__}")
    count = config["n_members"]
    if type(count) is not int or count < 1:
        raise ModelFilesError(f"config.json: n_members is {count!r}, expected a positive whole number")
    for name, value in config["config"].items():
        _check_size(f"config.json: config: {name}", value)
    for cutoff in (config["cutoff"], config["config"].get("cutoff", config["cutoff"])):
        if not _number(cutoff) or not 0 < cutoff <= FARTHEST_CUTOFF:
            raise ModelFilesError(f"config.json: cutoff is {cutoff!r}, expected Å above 0, {FARTHEST_CUTOFF:g} at most")
    scale = config["baseline"].get("scale")
    if not _number(scale) or not scale > 0:
        raise ModelFilesError(f"config.json: baseline: scale is {scale!r}, expected eV above 0")


def check_weights(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, which is read and compared with the size of the file; no tensor is read.

    Raises ModelFilesError.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            start = handle.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(LARGEST_HEADER, size - 8):
                _no_safetensors(start, length, size)
            text = handle.read(length)
    except OSError as error:
        raise ModelFilesError(f"{path.name} is missing or cannot be read: {error.strerror}") from error
    header = _parsed(f"{path.name}: header", text)
    if not isinstance(header, dict):
        raise ModelFilesError(f"{path.name} is damaged: its header holds a {type(header).__name__}")
    expected = sum(_bytes(name, tensor) for name, tensor in header.items() if name != "__metadata__")
    if expected != size - 8 - length:
        raise ModelFilesError(
            f"{path.name} is damaged: its header describes {expected} bytes of weights, there are {size - 8 - length}; "
            "copy it again"
        )
    return header


def _no_safetensors(start: bytes, length: int, size: int) -> NoReturn:
    if start[:2] == b"PK" or start[:1] == b"\x80":
        raise ModelFilesError(
            "model.safetensors is damaged or foreign: a pickle (a .pt file?) under another name; it could run code and "
            "is not opened; ask for safetensors"
        )
    raise ModelFilesError(
        f"model.safetensors is damaged or foreign: {length} bytes of header in a file of {size} bytes; copy it again"
    )


def _bytes(name: str, tensor: Any) -> int:
    """Bytes of a tensor as its entry in the header describes it."""
    if not NAME.fullmatch(name):
        raise ModelFilesError(f"model.safetensors has a tensor {name[:80]!r}, expected 'member.<k>/<parameter>'")
    try:
        kind, shape, (first, last) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
        numbers = [*shape, first, last]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFilesError(f"model.safetensors is damaged: no type, shape and place for '{name}'") from error
    if kind not in WIDTHS:
        raise ModelFilesError(f"model.safetensors: '{name}' has the type {kind!r}, expected {' or '.join(WIDTHS)}")
    if any(type(number) is not int or not 0 <= number < 2**60 for number in numbers) or len(shape) > 8:
        raise ModelFilesError(f"model.safetensors is damaged: '{name}' has the shape {str(shape)[:80]}")
    if WIDTHS[kind] * math.prod(shape) != last - first:
        raise ModelFilesError(f"model.safetensors is damaged: '{name}' of shape {shape} has {last - first} bytes")
    return int(last - first)


def _check_size(where: str, value: Any) -> None:
    if isinstance(value, list):
        for each in value[: LARGEST_SIZE + 1]:
            _check_size(where, each)
        value = len(value)
    if isinstance(value, int) and abs(value) > LARGEST_SIZE:
        raise ModelFilesError(f"{where} is {_short(value)}, expected {LARGEST_SIZE} at most")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: int) -> str:
    return str(value) if abs(value) < 10**15 else "a number of more than 15 digits"


def _text(path: Path, largest: int) -> str:
    try:
        if path.stat().st_size > largest:
            raise ModelFilesError(f"{path.name} has {path.stat().st_size} bytes, expected {largest} at most")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelFilesError(f"{path.name} is missing or cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelFilesError(f"{path.name} is not valid JSON: {error}") from error


def _parsed(name: str, text: str | bytes) -> Any:
    def refused(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(text, parse_constant=refused)
    except RecursionError as error:
        raise ModelFilesError(f"{name} is nested too deeply to be read") from error
    except ValueError as error:
        raise ModelFilesError(f"{name} is not valid JSON: {' '.join(str(error).split())[:200]}") from error


def _lines(path: Path) -> tuple[dict[str, Any], ...]:
    found = []
    for number, text in enumerate(_text(path, LARGEST_LOG).splitlines(), start=1):
        line = _parsed(f"{path.name}, line {number}", text)
        if not isinstance(line, dict):
            raise ModelFilesError(f"{path.name}, line {number} holds a {type(line).__name__}, expected a JSON object")
        found.append(line)
    return tuple(found)
