"""Model folders as files: joining committees without loading a network, so that even a light daemon can do it.

A model folder holds model.safetensors (tensors named 'member.<k>/<parameter>'), config.json, card.json, metrics.jsonl;
model_folder.py checks what is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .model_folder import ModelDocuments, ModelFilesError, read_model_folder

__all__ = ["ModelFilesError", "merge_model_folders", "merged_card"]


def merge_model_folders(folders: Sequence[str | Path], output: str | Path) -> Path:
    """Write one model folder with the members of all `folders`, numbered in that order, and return it.

    Raises ModelFilesError where architecture, hyperparameters or baseline differ: such members do not share a graph;
    and for a folder that is no model folder or a damaged one.
    """
    if not folders:
        raise ModelFilesError("no model folders to merge")
    sources = [Path(folder) for folder in folders]
    documents = [_documents(folder) for folder in sources]
    _check_alike(sources, [each.config for each in documents])
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    metrics: list[dict[str, Any]] = []
    offset = 0
    for folder, each in zip(sources, documents, strict=True):
        found = _tensors(folder)
        _check_members(folder, found, each.config["n_members"])
        tensors.update({_renumbered(name, offset): value for name, value in found.items()})
        metrics += [{**line, "member": _member(folder, line) + offset} for line in each.metrics]
        offset += each.config["n_members"]
    card = merged_card([each.card for each in documents])
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "model.safetensors")
    (target / "card.json").write_text(_json(card))
    (target / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    (target / "config.json").write_text(_json({**documents[0].config, "n_members": offset}))
    return target


def merged_card(cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all cards agree on, and under `members` each member's own card."""
    first = cards[0]
    shared = {key: value for key, value in first.items() if all(card.get(key) == value for card in cards)}
    return {**shared, "members": [member for card in cards for member in card.get("members", [card])]}


def _documents(folder: Path) -> ModelDocuments:
    documents = read_model_folder(folder)
    if not (folder / "card.json").is_file():
        raise ModelFilesError(f"{folder}: not a model folder: card.json is missing")
    if not isinstance(documents.card.get("members", []), list):
        raise ModelFilesError(f"{folder}: card.json: members is no list")
    return documents


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


def _tensors(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        tensors = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelFilesError(f"{folder}: model.safetensors is missing or damaged: {error}") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelFilesError(f"{folder}: model.safetensors: '{name}' holds NaN or infinite numbers")
    return tensors


def _check_members(folder: Path, names: Iterable[str], n_members: int) -> None:
    members = {int(name[len("member.") : name.index("/")]) for name in names}
    if len(members) != n_members or max(members) != n_members - 1:
        raise ModelFilesError(
            f"{folder}: config.json: n_members is {n_members}, model.safetensors has weights of {len(members)} members"
        )


def _member(folder: Path, line: dict[str, Any]) -> int:
    member = line.get("member", 0)
    if type(member) is not int or member < 0:
        raise ModelFilesError(f"{folder}: metrics.jsonl: member is {member!r}, expected a whole number")
    return member


def _renumbered(name: str, offset: int) -> str:
    match = re.fullmatch(r"member\.(\d+)/(.+)", name)
    assert match is not None  # read_model_folder has looked at the names
    return f"member.{int(match[1]) + offset}/{match[2]}"


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
