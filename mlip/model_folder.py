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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

NETWORK = ("architecture", "preset", "config", "cutoff")
"""What config.json says of a network, weights apart."""
SHARED = ("elements", "n_members", "baseline")
"""What it says of all members."""
KEYS = {1: ("format", *NETWORK, *SHARED), 2: ("format", "networks", *SHARED)}
"""What config.json holds, all of it needed, by format: 1 where all members are of one network, 2 where of several."""
KINDS = {"architecture": str, "preset": str, "config": dict, "elements": list, "baseline": dict, "networks": list}
"""Types of its values."""
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
    if type(found) is not int or found not in KEYS:
        newer = type(found) is int and found > max(KEYS)
        advice = "; a newer aiida-argonaut wrote it: update this one" if newer else ""
        raise ModelFilesError(f"config.json has format {found!r}, this version reads 1 and 2{advice}")
    _check_keys("config.json", config, KEYS[found])
    count = config["n_members"]
    if type(count) is not int or count < 1:
        raise ModelFilesError(f"config.json: n_members is {count!r}, expected a positive whole number")
    if found == 1:
        check_sizes("config.json", config)
    else:
        _check_networks(config["networks"], count)
    scale = config["baseline"].get("scale")
    if not _number(scale) or not scale > 0:
        raise ModelFilesError(f"config.json: baseline: scale is {scale!r}, expected eV above 0")


def networks_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The networks in a checked config.json of any format: the keys of NETWORK, and `members`, numbers from 0 on."""
    if config["format"] == 2:
        return list(config["networks"])
    return [{**{key: config[key] for key in NETWORK}, "members": range(config["n_members"])}]


def model_config(members: Sequence[Mapping[str, Any]], elements: Any, baseline: Any) -> dict[str, Any]:
    """config.json of members whose networks are these (the keys of NETWORK); format 1 where they are all the same."""
    found: dict[str, dict[str, Any]] = {}
    for k, member in enumerate(members):
        own = {key: member[key] for key in NETWORK}
        found.setdefault(json.dumps(own, sort_keys=True), {**own, "members": []})["members"].append(k)
    networks = list(found.values())
    shared = {"elements": elements, "n_members": len(members), "baseline": baseline}
    if len(networks) == 1:
        return {"format": 1, **{key: networks[0][key] for key in NETWORK}, **shared}
    return {"format": 2, "networks": networks, **shared}


def has_direct_forces(network: Mapping[str, Any]) -> bool:
    """Whether a network of config.json predicts forces of its own, and no stress (see potential.py)."""
    return bool(network["config"].get("direct_forces", False))


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


def _check_keys(where: str, document: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in keys:
        if key not in document:
            raise ModelFilesError(f"{where} lacks the key '{key}'; copy or train the model again")
    if unknown := sorted(document.keys() - set(keys)):
        raise ModelFilesError(f"{where} has the unknown key {unknown[0]!r}; known keys: {', '.join(keys)}")
    for key in keys:
        if key in KINDS and not isinstance(document[key], KINDS[key]):
            raise ModelFilesError(
                f"{where}: {key} is a {type(document[key]).__name__}, expected a {KINDS[key].__name__}"
            )


def _check_networks(networks: Sequence[Any], n_members: int) -> None:
    members: list[Any] = []
    for index, network in enumerate(networks):
        where = f"config.json: networks[{index}]"
        if not isinstance(network, dict):
            raise ModelFilesError(f"{where} is a {type(network).__name__}, expected a JSON object")
        _check_keys(where, network, (*NETWORK, "members"))
        check_sizes(where, network)
        own = network["members"]
        if not isinstance(own, list) or not own or any(type(k) is not int for k in own):
            raise ModelFilesError(f"{where}: members is {str(own)[:80]}, expected a list of whole numbers")
        members += own
    if len(members) != n_members or sorted(members) != list(range(n_members)):
        raise ModelFilesError(
            f"config.json: n_members is {_short(n_members)}, the networks list {len(members)} members; expected each "
            "from 0 on once"
        )
    if len({has_direct_forces(network) for network in networks}) > 1:
        raise ModelFilesError(
            "config.json: networks with direct_forces, which have no stress, beside others; expected one kind"
        )


def check_sizes(where: str, network: Mapping[str, Any]) -> None:
    """Raise ModelFilesError for hyperparameters or a cutoff of a size that no network has."""
    for name, value in network["config"].items():
        _check_size(f"{where}: config: {name}", value)
    for cutoff in (network["cutoff"], network["config"].get("cutoff", network["cutoff"])):
        if not _number(cutoff) or not 0 < cutoff <= FARTHEST_CUTOFF:
            raise ModelFilesError(f"{where}: cutoff is {cutoff!r}, expected Å above 0, {FARTHEST_CUTOFF:g} at most")


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
