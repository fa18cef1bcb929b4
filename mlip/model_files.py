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

from .model_folder import (
    ModelDocuments,
    ModelFilesError,
    has_direct_forces,
    model_config,
    networks_of,
    read_model_folder,
)

__all__ = ["ModelFilesError", "merge_model_folders", "merged_card"]


def merge_model_folders(folders: Sequence[str | Path], output: str | Path) -> Path:
    """Write one model folder with the members of all `folders`, numbered in that order, and return it.

    Architectures, presets and hyperparameters may differ. Raises ModelFilesError where elements or baseline do, where
    only some have direct forces, and for a folder that is no model folder or a damaged one.
    """
    if not folders:
        raise ModelFilesError("no model folders to merge")
    sources = [Path(folder) for folder in folders]
    documents = [_documents(folder) for folder in sources]
    _check_alike(sources, [each.config for each in documents])
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    metrics: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    for folder, each in zip(sources, documents, strict=True):
        found = _tensors(folder)
        _check_members(folder, found, each.config["n_members"])
        offset = len(networks)
        tensors.update({_renumbered(name, offset): value for name, value in found.items()})
        metrics += [{**line, "member": _member(folder, line) + offset} for line in each.metrics]
        own = {k: network for network in networks_of(each.config) for k in network["members"]}
        networks += [own[k] for k in sorted(own)]
    card = merged_card([each.card for each in documents])
    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "model.safetensors")
    (target / "card.json").write_text(_json(card))
    (target / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    first = documents[0].config
    (target / "config.json").write_text(_json(model_config(networks, first["elements"], first["baseline"])))
    return target


def merged_card(cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all cards agree on, and under `members` each member's own card, with what they do not agree on."""
    first = cards[0]
    shared = {key: value for key, value in first.items() if all(card.get(key) == value for card in cards)}
    members = []
    for card in cards:
        own = {key: value for key, value in card.items() if key != "members" and key not in shared}
        members += [{**member, **own} for member in card.get("members", [card])]
    return {**shared, "members": members}


def _documents(folder: Path) -> ModelDocuments:
    documents = read_model_folder(folder)
    if not (folder / "card.json").is_file():
        raise ModelFilesError(f"{folder}: not a model folder: card.json is missing")
    members = documents.card.get("members", [])
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ModelFilesError(f"{folder}: card.json: members is no list of JSON objects")
    return documents


def _check_alike(folders: Sequence[Path], configs: Sequence[dict[str, Any]]) -> None:
    first = configs[0]
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        differing = [key for key in ("baseline", "elements") if first[key] != config[key]]
        if differing:
            raise ModelFilesError(
                f"{folder} does not fit {folders[0]}: {', '.join(differing)} differ; the members of a committee share "
                "elements and baseline: train them on the same data"
            )
        direct, conservative = (folder, folders[0]) if _direct(config) else (folders[0], folder)
        if _direct(config) != _direct(first):
            raise ModelFilesError(
                f"{folder} does not fit {folders[0]}: {direct} has direct_forces and no stress, {conservative} has "
                "forces and stress of its energy; merge models of one kind"
            )


def _direct(config: dict[str, Any]) -> bool:
    return has_direct_forces(networks_of(config)[0])


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
