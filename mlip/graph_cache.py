"""Samples on disk: bonds of up to a million frames, found once, memory-mapped by every process that trains on them.

    folder / KEY / header.json, numbers.npy, positions.npy, ...          (the arrays of samples.Samples)

KEY is a hash of the labelled frames in their order, of the cutoff, of whether the repulsion is taken off, and of the
version of this layout: what changes any of them finds another folder, so a cache is never stale, only absent. Shards of
frames are worked on by several processes and written as they are done, then joined array by array, so that memory
holds a few shards and not the dataset. The folder gets its name when it is whole. Reference energies are no part of it:
they come off when it is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline
from .extxyz import FrameError
from .frames import LabelledFrame, hash_document
from .parallel import results
from .samples import ARRAYS, PER_ATOM, PER_BOND, PER_FRAME, Samples, pointers

FORMAT = "argonaut-graphs-1"
"""Version of the layout and of the repulsion that was taken off."""
HEADER = "header.json"
SHARD = 1000
"""Frames per shard."""
FORGOTTEN = 86400.0
"""s after which what an interrupted build has left is removed."""
Shard = Sequence[LabelledFrame] | Callable[[], Sequence[LabelledFrame]]
"""Frames, or what reads them (in the process that works on them)."""


class CacheError(ValueError):
    """A cache that is not whole."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def cached(
    frames: Sequence[LabelledFrame],
    cutoff: float,
    folder: str | Path,
    baseline: Baseline | None = None,
    workers: int = 1,
    report: Callable[[str], None] = _say,
) -> Samples:
    """Samples of `frames` in their order, from the cache in `folder`, which is built or rebuilt where necessary.

    :param cutoff: Å.
    :param baseline: None leaves `Samples.energy` empty (see Samples.with_baseline).
    :param workers: processes that build; they get the frames in shards.
    :param report: is told in one line what is built, and why.
    """
    shards = [frames[start : start + SHARD] for start in range(0, len(frames), SHARD)]
    return open_or_build(content_of(frames), shards, cutoff, folder, baseline, workers, report)


def open_or_build(
    content: str,
    shards: Sequence[Shard],
    cutoff: float,
    folder: str | Path,
    baseline: Baseline | None = None,
    workers: int = 1,
    report: Callable[[str], None] = _say,
) -> Samples:
    """The same for shards of frames, or for functions that read them, so that no process ever holds all frames.

    :param content: hash of what the shards hold, in their order: of the files that they are read from, say.

    A function that reads a shard travels to other processes, so it must be picklable (a functools.partial of a function
    of a module). Raises FrameError without frames.
    """
    repulsion = baseline is None or baseline.repulsion
    target = Path(folder) / key_of(content, cutoff, repulsion)
    if target.exists():
        try:
            return _with(open_folder(target), baseline)
        except CacheError as error:
            report(f"{error}; building it again")
            _set_aside(target)
    else:
        report(f"{target}: finding the bonds of {len(shards)} shards of up to {SHARD} frames")
    build(target, shards, cutoff, repulsion, workers)
    return _with(open_folder(target), baseline)


def content_of(frames: Sequence[LabelledFrame]) -> str:
    """sha256 over the content hashes of labelled frames in their order."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame.content_hash.encode())
    return digest.hexdigest()


def content_of_files(paths: Sequence[str | Path]) -> str:
    """sha256 over the bytes of files in their order; names and times do not count."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def key_of(content: str, cutoff: float, repulsion: bool = True) -> str:
    """Name of the folder of a cache."""
    return hash_document([FORMAT, content, float(cutoff), repulsion])[:32]


def build(target: Path, shards: Sequence[Shard], cutoff: float, repulsion: bool = True, workers: int = 1) -> None:
    """Write the cache `target`; if another process is first, its folder stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _forget(target)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        tasks = [(shard, cutoff, repulsion, partial / f"shard-{n}.npz") for n, shard in enumerate(shards)]
        for _ in results(_write_shard, tasks, workers):
            pass
        _join([task[3] for task in tasks], partial, cutoff, repulsion)
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_shard(shard: Shard, cutoff: float, repulsion: bool, path: Path) -> None:
    frames = shard() if callable(shard) else shard
    if len(frames):
        np.savez(path, **Samples.from_frames(frames, cutoff, repulsion).arrays())  # type: ignore[arg-type]  # of numpy's keyword


def _join(paths: Sequence[Path], folder: Path, cutoff: float, repulsion: bool) -> None:
    """Join shards, in their order, to one file per array, with the header last."""
    files = [path for path in paths if path.exists()]
    if not files:
        raise FrameError("no frames: a cache needs at least one")
    sums, lengths = {}, {}
    for pointer, counts in (("first_atom", "n_atoms"), ("first_bond", "n_bonds")):
        whole = pointers(np.concatenate([_load(path, counts) for path in files]))
        np.save(folder / f"{pointer}.npy", whole)
        sums[pointer], lengths[pointer] = zlib.crc32(whole.data), len(whole)
    total = {**dict.fromkeys(PER_FRAME, lengths["first_atom"] - 1)}
    for pointer, names in (("first_atom", PER_ATOM), ("first_bond", PER_BOND)):
        total |= dict.fromkeys(names, int(np.load(folder / f"{pointer}.npy")[-1]))
    for name, length in total.items():
        sums[name] = _join_one(files, folder / f"{name}.npy", name, length)
    for path in files:
        path.unlink()
    header = {"format": FORMAT, "cutoff": cutoff, "repulsion": repulsion, "frames": total["label"], "crc32": sums}
    header["bytes"] = {name: (folder / f"{name}.npy").stat().st_size for name in ARRAYS}
    (folder / HEADER).write_text(json.dumps(header, indent=2) + "\n")


def _load(path: Path, name: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]


def _join_one(files: Sequence[Path], target: Path, name: str, length: int) -> int:
    """Write one array, shard after shard, in a dtype that holds all of them; its CRC-32."""
    first = _load(files[0], name)
    dtype = first.dtype
    if name == "image":
        dtype = np.result_type(*(_load(path, name).dtype for path in files))
    sum_ = 0
    with target.open("wb") as handle:
        shape = (length, *first.shape[1:])
        descr = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, descr)
        for path in files:
            part = np.ascontiguousarray(_load(path, name), dtype=dtype).tobytes()
            sum_ = zlib.crc32(part, sum_)
            handle.write(part)
    return sum_


def open_folder(folder: Path, thorough: bool = False) -> Samples:
    """Samples on the arrays of a cache, memory-mapped, without reference energies.

    The header, the size of every file and the checksums of what is per frame are compared; those of atoms and bonds,
    which are nearly all of it, only if `thorough`. Raises CacheError, naming the file, for what is not as written.
    """
    try:
        header = json.loads((folder / HEADER).read_text())
        if header["format"] != FORMAT:
            raise CacheError(f"{folder}: format {header['format']!r}, expected {FORMAT!r}")
        arrays = {name: _mapped(folder / f"{name}.npy", header["bytes"][name]) for name in ARRAYS}
        for name, array in arrays.items():
            whole = thorough or name not in PER_ATOM + PER_BOND
            if whole and zlib.crc32(np.ascontiguousarray(array).data) != header["crc32"][name]:
                raise CacheError(f"{folder}: {name}.npy was changed after it was written")
        return Samples(**arrays, cutoff=float(header["cutoff"]), has_repulsion=bool(header["repulsion"]))
    except CacheError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheError(f"{folder}: not a whole cache: {' '.join(str(error).split())}") from error


def _mapped(path: Path, size: int) -> NDArray[Any]:
    if path.stat().st_size != size:
        raise CacheError(f"{path}: {path.stat().st_size} bytes, expected {size}")
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(mapped)  # a plain array on the same memory: its indexing is faster


def _with(samples: Samples, baseline: Baseline | None) -> Samples:
    return samples if baseline is None else samples.with_baseline(baseline)


def _set_aside(target: Path) -> None:
    """Take a damaged folder away at one stroke, so that nobody opens half of it."""
    grave = target.with_name(f".{target.name}-damaged-{os.getpid()}-{time.monotonic_ns()}")
    try:
        target.rename(grave)
    except FileNotFoundError:  # another process did
        return
    shutil.rmtree(grave, ignore_errors=True)


def _forget(target: Path) -> None:
    """Remove what builds of this cache have left that ended long ago."""
    for left in target.parent.glob(f".{target.name}-*"):
        try:
            old = time.time() - left.stat().st_mtime > FORGOTTEN
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(left, ignore_errors=True)
