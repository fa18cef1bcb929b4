"""Model folders as files: joining committees without loading a network, so that even a light daemon can do it.

A model folder holds model.safetensors (tensors named 'member.<k>/<parameter>'), config.json, card.json, metrics.jsonl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file


class ModelFilesError(ValueError):
    """Model folders that cannot be read or joined."""


def merge_model_folders(folders: Sequence[str | Path], output: str | Path) -> Path:
    """Write one model folder with the members of all `folders`, numbered in that order, and return it.

    Raises ModelFilesError where architecture, hyperparameters or baseline differ: such members do not share a graph;
    and for a folder that is no model folder or a damaged one.
    """
    if not folders:
        raise ModelFilesError("no model folders to merge")
    sources = [Path(folder) for folder in folders]
    configs = [_document(folder, "config.json") for folder in sources]
    _check_alike(sources, configs)
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    metrics: list[dict[str, Any]] = []
    offset = 0
    for folder, config in zip(sources, configs, strict=True):
        tensors.update({_renumbered(folder, name, offset): value for name, value in _tensors(folder).items()})
        metrics += [{**line, "member": line["member"] + offset} for line in _lines(folder / "metrics.jsonl")]
        offset += _member_count(folder, config)
    card = merged_card([_document(folder, "card.json") for folder in sources])
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "model.safetensors")
    (target / "card.json").write_text(_json(card))
    (target / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    (target / "config.json").write_text(_json({**configs[0], "n_members": offset}))
    return target


def merged_card(cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all cards agree on, and under `members` each member's own card."""
    first = cards[0]
    shared = {key: value for key, value in first.items() if all(card.get(key) == value for card in cards)}
    return {**shared, "members": [member for card in cards for member in card.get("members", [card])]}


def _check_alike(folders: Sequence[Path], configs: Sequence[dict[str, Any]]) -> None:
    first = configs[0]
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        differing = sorted(
            key for key in first.keys() | config.keys() if key != "n_members" and first.get(key) != config.get(key)
        )
        if differing:
            raise ModelFilesError(
                f"{folder} does not fit {folders[0]}: {', '.join(differing)} differ; a committee shares architecture, "
                "hyperparameters and baseline"
            )


def _document(folder: Path, name: str) -> dict[str, Any]:
    try:
        document = json.loads((folder / name).read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelFilesError(f"{folder}: not a model folder: {name}: {error}") from error
    if not isinstance(document, dict):
        raise ModelFilesError(f"{folder}: {name} holds no JSON object")
    return document


def _tensors(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        return load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelFilesError(f"{folder}: model.safetensors is missing or damaged: {error}") from error


def _member_count(folder: Path, config: dict[str, Any]) -> int:
    count = config.get("n_members")
    if type(count) is not int or count < 1:
        raise ModelFilesError(f"{folder}: config.json: n_members is {count!r}, expected a positive whole number")
    return count


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        return [{**line, "member": int(line.get("member", 0))} for line in lines]
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelFilesError(f"{path}: not one JSON object per line: {error}") from error


def _renumbered(folder: Path, name: str, offset: int) -> str:
    match = re.fullmatch(r"member\.(\d+)/(.+)", name)
    if match is None:
        raise ModelFilesError(f"{folder}: model.safetensors has a tensor '{name}', expected 'member.<k>/<parameter>'")
    return f"member.{int(match[1]) + offset}/{match[2]}"


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
