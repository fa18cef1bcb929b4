"""Any amount of configurations: made shard by shard, written as they come, continued after a kill.

A folder holds the shards, `shards.jsonl` with one line for each that is complete (its range, its sha256, what was lost
in it), and `generated.json`, which says what the whole is and whether it is complete. The shards in order are, byte for
byte, the one file that `-o OUT.extxyz` writes, whatever the size of a shard and the number of workers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..extxyz import MANIFEST, shard_name
from ..settings import SettingsError
from .checks import shown
from .draw import GenerationError
from .recipe import LARGEST_INDEX, Recipe, generate

SHARD_SIZE = 2500
"""Configurations per shard."""
JOURNAL = "shards.jsonl"
PACKAGES = ("aiida-argonaut", "numpy", "numba", "ase", "pymatgen")
"""Whose version may decide what a configuration is; a folder is finished with those that it was begun with."""
MOST_SHARDS = 1_000_000
"""Shards of one order: what a file system bears in one folder, and the list of them in memory."""


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    recipe: Recipe
    seed: int
    start: int
    """Index of the first configuration."""
    number: int
    """How many."""
    shard_size: int = SHARD_SIZE

    def __post_init__(self) -> None:
        if self.start + self.number > LARGEST_INDEX:
            raise SettingsError(
                f"start {shown(self.start)}, {shown(self.number)} configurations: expected indices below "
                f"{LARGEST_INDEX}"
            )
        if self.number > MOST_SHARDS * self.shard_size:
            raise SettingsError(
                f"{self.number} configurations in shards of {self.shard_size}: expected {MOST_SHARDS} shards at most; "
                "ask for fewer, or for larger shards"
            )
        length = self.recipe.length
        if length is not None and self.start + self.number > length:
            raise SettingsError(
                f"indices {self.start} to {self.start + self.number - 1}: the recipe has counts only, which end after "
                f"{length} configurations; ask for fewer, or give a source a weight instead of its count"
            )

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """[first, last + 1) index of each shard."""
        stop = self.start + self.number
        return [(first, min(first + self.shard_size, stop)) for first in range(self.start, stop, self.shard_size)]

    def document(self) -> dict[str, Any]:
        """What makes a folder this order's."""
        return {
            "recipe_hash": self.recipe.content_hash,
            "seed": self.seed,
            "start": self.start,
            "shard_size": self.shard_size,
            "versions": {package: version(package) for package in PACKAGES},
        }


@dataclass(frozen=True)
class Shard:
    """A shard that was made."""

    text: bytes
    """Extended XYZ."""
    made: int
    lost: list[dict[str, Any]] = field(default_factory=list)
    """index, source and message of each configuration that could not be made."""


def make_shard(recipe: Recipe, seed: int, first: int, stop: int) -> Shard:
    """Configurations first .. stop-1 of recipe and seed."""
    parts, lost = [], []
    for index in range(first, stop):
        try:
            made = generate(recipe, seed, index)
        except GenerationError as error:
            source = recipe.ingredients[recipe.turn(seed, index)[0]].source
            lost.append({"index": index, "source": source, "message": str(error)})
        else:
            parts.append(made.configuration.to_text(made.figures))
    return Shard("".join(parts).encode(), len(parts), lost)


def store_shard(recipe: Recipe, seed: int, first: int, stop: int, folder: Path, number: int) -> dict[str, Any]:
    """Make a shard and write it where it belongs; its line of the journal."""
    return _write_shard(folder, number, (first, stop), make_shard(recipe, seed, first, stop))


Run = Callable[[Callable[..., Any], list[tuple[Any, ...]]], Iterator[tuple[int, Any]]]
"""(function, tasks) -> (number of the task, result), in any order: see parallel.results."""
Account = Generator[int, None, dict[str, Any]]
"""Yields how many configurations are done, returns the account of all."""


def write_file(order: Order, path: Path, run: Run) -> Account:
    """Write one file, whole or not at all; yields how many configurations are done, returns the account."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    digest, lost = hashlib.sha256(), []
    try:
        with partial.open("wb") as handle:
            tasks = [(order.recipe, order.seed, first, stop) for first, stop in order.ranges]
            for done, shard in _in_order(run(make_shard, tasks)):
                handle.write(shard.text)
                digest.update(shard.text)
                lost += shard.lost
                yield min(order.number, (done + 1) * order.shard_size)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return account(order, lost, digest.hexdigest())


def write_folder(order: Order, folder: Path, run: Run, shared: bool = True) -> Account:
    """Write a sharded folder, or what is missing of it; yields how many are done, returns the account.

    :param shared: whether the workers can write to the folder; otherwise they send the shards.

    Raises SettingsError if the folder holds something else, or if another process writes to it.
    """
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else None
    folder.mkdir(parents=True, exist_ok=True)
    _check_ours(folder)
    with _locked(folder / JOURNAL) as journal, _forgotten_if_nothing_came(folder, found):
        _claim(folder, order)
        known = _known_shards(folder)
        ranges = order.ranges
        missing = [number for number, each in enumerate(ranges) if not _is_whole(folder, number, each, known)]
        if missing:
            _write_manifest(folder, order, {"asked": order.number, "complete": False})
        done = sum(stop - first for first, stop in ranges) - sum(ranges[n][1] - ranges[n][0] for n in missing)
        yield done
        tasks = [(order.recipe, order.seed, *ranges[number]) for number in missing]
        if shared:
            stored = run(store_shard, [(*task, folder, number) for task, number in zip(tasks, missing, strict=True)])
        else:
            stored = run(make_shard, tasks)
        for turn, made in stored:
            number = missing[turn]
            known[number] = made if shared else _write_shard(folder, number, ranges[number], made)
            journal.write(json.dumps(known[number]) + "\n")
            journal.flush()
            done += ranges[number][1] - ranges[number][0]
            yield done
        lost = [loss for number in range(len(ranges)) for loss in known[number]["lost"]]
        result = account(order, lost, _whole_hash(folder, len(ranges)))
        _write_manifest(folder, order, {**result, "complete": True})
    return result


def account(order: Order, lost: list[dict[str, Any]], sha256: str) -> dict[str, Any]:
    """How many were asked for and made, what was lost or left out and why, and the hash of all that was written."""
    made = order.number - len(lost)
    return {"asked": order.number, "made": made, "lost": lost, "left_out": order.recipe.left_out, "sha256": sha256}


def _in_order(numbered: Iterable[tuple[int, Shard]]) -> Iterator[tuple[int, Shard]]:
    """The same in the order of their numbers; what comes early waits."""
    waiting: dict[int, Shard] = {}
    turn = 0
    for number, shard in numbered:
        waiting[number] = shard
        while turn in waiting:
            yield turn, waiting.pop(turn)
            turn += 1


def _check_ours(folder: Path) -> None:
    """See that the folder is empty, or one that was begun; what a kill has left of a first file does not count."""
    others = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".partial"))
    if MANIFEST not in others and others not in ([], [JOURNAL]):
        raise SettingsError(f"{folder}: holds {others[0]} but no {MANIFEST}: expected a new folder, or one of ours")


def _claim(folder: Path, order: Order) -> None:
    """See that what was begun in the folder is this order."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    try:
        found = json.loads(manifest.read_text())
        different = [key for key, value in order.document().items() if found[key] != value]
        asked = int(found["asked"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SettingsError(f"{manifest}: cannot be read: {error}; choose another folder") from error
    if different or asked > order.number:
        key = (different or ["asked"])[0]
        given = order.number if key == "asked" else order.document()[key]
        raise SettingsError(
            f"{folder}: was begun with {key} {found[key]}, now {given}: a folder goes on with the same recipe, seed "
            "and shards, for as many configurations or more; choose another folder"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Any]:
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(f"{path.parent}: another process is writing to this folder") from error
        if path.read_bytes()[-1:] not in (b"", b"\n"):  # a kill has cut the last line short
            handle.write("\n")
        yield handle


@contextlib.contextmanager
def _forgotten_if_nothing_came(folder: Path, found: set[str] | None) -> Iterator[None]:
    """Where the work ends early and without a shard, the folder is left as it was found.

    :param found: names of what it held before; None if it was not there.
    """
    try:
        yield
    except BaseException:
        if not any(folder.glob("shard-*")):
            for name in {JOURNAL, MANIFEST} - (found or set()):
                (folder / name).unlink(missing_ok=True)
            if found is None:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        raise


def _known_shards(folder: Path) -> dict[int, dict[str, Any]]:
    """The journal; a line that a kill has cut short is passed over, for its shard is made again."""
    known = {}
    for line in (folder / JOURNAL).read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
            entry = json.loads(line)
            known[int(entry["shard"])] = entry
    return known


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard is."""
    return folder / shard_name(number)


def _is_whole(folder: Path, number: int, limits: tuple[int, int], known: dict[int, dict[str, Any]]) -> bool:
    entry, path = known.get(number), shard_path(folder, number)
    if entry is None or [entry.get("first"), entry.get("stop")] != list(limits) or not path.is_file():
        return False
    if not isinstance(entry.get("lost"), list):
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == entry.get("sha256")


def _write_shard(folder: Path, number: int, limits: tuple[int, int], shard: Shard) -> dict[str, Any]:
    path = shard_path(folder, number)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as handle:
            handle.write(shard.text)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    first, stop = limits
    digest = hashlib.sha256(shard.text).hexdigest()
    return {"shard": number, "first": first, "stop": stop, "made": shard.made, "lost": shard.lost, "sha256": digest}


def _whole_hash(folder: Path, count: int) -> str:
    digest = hashlib.sha256()
    for number in range(count):
        digest.update(shard_path(folder, number).read_bytes())
    return digest.hexdigest()


def _write_manifest(folder: Path, order: Order, state: dict[str, Any]) -> None:
    path = folder / MANIFEST
    document = {**order.document(), "recipe": order.recipe.document(), **state}
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(document, indent=2) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
