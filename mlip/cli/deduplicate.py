"""argonaut deduplicate: files of frames without those that occur twice, and an account of what was left out."""

from __future__ import annotations

import bisect
import dataclasses
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from .given import FRAMES, OUTPUT_FILE, companion, writing

if TYPE_CHECKING:
    from ..duplicates.deduplicate import DuplicateSettings, Frame, Verdict

FORMAT = "argonaut-duplicates-1"
ACCOUNT = ".duplicates.json"
"""Suffix of the account."""
FRAMES_PER_WORD = 1000
"""Frames between two looks at whether it is time to say how far the work is."""


@click.command()
@click.argument("files", nargs=-1, required=True, type=FRAMES)
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="File to write, *.extxyz.")
@click.option("--near", is_flag=True, help="Leave out near duplicates too, not only exact ones.")
@click.option("--fingerprint-distance", type=float, help="How near: 0 to 1.41, 0.05 if not given.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings, YAML or JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def deduplicate(
    files: tuple[Path, ...],
    output: Path,
    near: bool,
    fingerprint_distance: float | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Write the frames of FILES without duplicates: the first occurrence of every structure, as it stands in its file.

    The same structure moved, turned, mirrored, renumbered, or in another cell is an exact duplicate. A frame stays if
    its label is not that of the kept one, and if its source is `user` and no earlier `user` frame is the same. For
    OUT.extxyz, OUT.duplicates.json tells of every duplicate which frame it repeats, and what became of it.

    \b
    Example: argonaut deduplicate starts.extxyz more.extxyz -o unique.extxyz
    """
    from ..duplicates.deduplicate import DuplicateSettings
    from ..settings import load_settings

    if output.suffix != ".extxyz":
        raise click.UsageError(f"-o {output}: expected a name that ends in .extxyz")
    settings = load_settings(DuplicateSettings, config)
    if near:
        settings = dataclasses.replace(settings, near=True)
    if fingerprint_distance is not None:
        if not settings.near:
            raise click.UsageError("--fingerprint-distance is of near duplicates: give --near too")
        settings = dataclasses.replace(settings, fingerprint_distance=fingerprint_distance)
    sources = files_in(files)
    if output.resolve() in [path.resolve() for path in sources]:
        raise click.UsageError(f"-o {output} is one of the files to read; write elsewhere")
    companion(output, ACCOUNT)
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        counts = write_unique(sources, output, settings)
    click.echo(json.dumps(counts, indent=2) if as_json else _summary(counts, output))


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files given, with the shards of a sharded folder in its place."""
    from ..extxyz import shards

    return [file for path in paths for file in (shards(path) if path.is_dir() else [path])]


def write_unique(files: list[Path], output: Path, settings: DuplicateSettings) -> dict[str, int]:
    """Write output and account, both or none; the counts: read = kept + exact + near."""
    account = account_of(output)
    partial = [path.with_name(f".{path.name}.partial") for path in (output, account)]
    try:
        with partial[0].open("w") as frames, partial[1].open("w") as told:
            counts = _write(files, settings, frames, told)
        partial[0].replace(output)
        partial[1].replace(account)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
    return counts


def account_of(output: Path) -> Path:
    """Where the account of an output file stands."""
    return output.with_suffix(ACCOUNT)


def _write(files: list[Path], settings: DuplicateSettings, frames: TextIO, told: TextIO) -> dict[str, int]:
    """The account is written while reading, so that a long one need not be held in memory."""
    from ..duplicates.deduplicate import DuplicateFinder
    from .progress import Progress

    counts = dict.fromkeys(("read", "kept", "exact", "near", "kept_duplicates"), 0)
    head = {"format": FORMAT, "settings": dataclasses.asdict(settings), "files": [str(path) for path in files]}
    told.write(json.dumps(head)[:-1] + ', "duplicates": [')
    finder, starts, separator = DuplicateFinder(settings), list[int](), "\n"
    with Progress("looking for duplicates", len(files)) as progress:
        for path in files:
            starts.append(counts["read"])
            for index, (text, frame) in enumerate(read_frames(path)):
                verdict = finder.verdict(frame)
                counts["read"] += 1
                counts[verdict.kind] += 1
                if verdict.kind == "kept":
                    frames.write(text)
                if verdict.other is not None:
                    counts["kept_duplicates"] += verdict.kind == "kept"
                    told.write(separator + json.dumps(_entry(files, starts, index, frame, verdict)))
                    separator = ",\n"
                if counts["read"] % FRAMES_PER_WORD == 0:
                    progress.update(len(starts) - 1, f"{counts['read']} frames so far")
    told.write("\n], " + json.dumps(counts)[1:] + "\n")
    return counts


def _entry(files: list[Path], starts: list[int], index: int, frame: Frame, verdict: Verdict) -> dict[str, Any]:
    """What the account says of a duplicate; `starts` are the numbers of the first frames of the files so far."""
    assert verdict.other is not None
    place = bisect.bisect_right(starts, verdict.other) - 1
    entry = {
        "verdict": verdict.kind,
        "file": str(files[len(starts) - 1]),
        "index": index,
        "configuration_id": frame.configuration.configuration_id,
        "repeats": {
            "file": str(files[place]),
            "index": verdict.other - starts[place],
            "configuration_id": verdict.other_id,
        },
        "distance": round(verdict.distance, 9),
    }
    return {**entry, "reason": verdict.reason} if verdict.reason else entry


def read_frames(path: Path) -> Iterator[tuple[str, Frame]]:
    """Text and content of every frame of an extended XYZ file; FrameError names file and frame of a bad one."""
    from ..duplicates.deduplicate import Frame, label_of
    from ..extxyz import FrameError, iterate_atoms
    from ..frames import Configuration

    index = 0
    if not path.is_file():
        raise FrameError(f"{path}: no such file")
    try:
        with path.open() as handle:
            for text in _blocks(handle):
                (atoms,) = iterate_atoms(io.StringIO(text))
                configuration = Configuration.from_atoms(atoms)
                configuration.check_elements()
                results = {} if atoms.calc is None else atoms.calc.results
                label = label_of(results, str(atoms.info.get("protocol_hash", "")), len(configuration))
                yield text, Frame(configuration, label)
                index += 1
    except FrameError as error:
        raise FrameError(f"{path}, frame {index}: {_bare(str(error))}") from error
    except Exception as error:
        raise FrameError(
            f"{path}, frame {index}: not readable as extended XYZ: {type(error).__name__}: {error}"
        ) from error
    if not index:
        raise FrameError(f"{path}: holds no frames")


def _bare(problem: str) -> str:
    """What is wrong with a frame that was read on its own."""
    return problem.removeprefix("stream, frame 0: ").removeprefix("stream: ")


def _blocks(handle: TextIO) -> Iterator[str]:
    """The text of each frame: a line with the number of atoms, a line of notes, a line per atom."""
    for line in handle:
        if not line.strip():
            continue
        rest = list(itertools.islice(handle, int(line) + 1))
        if len(rest) <= int(line):
            raise ValueError(f"the file ends after {max(len(rest) - 1, 0)} of {int(line)} atoms")
        yield "".join([line, *rest]).removesuffix("\n") + "\n"


def _summary(counts: dict[str, int], output: Path) -> str:
    lines = [
        f"{counts['read']} frames read: {counts['kept']} kept, {counts['exact']} exact and {counts['near']} near "
        "duplicates left out"
    ]
    if counts["kept_duplicates"]:
        lines.append(f"{counts['kept_duplicates']} of the kept are duplicates too: of another label, or `user` frames")
    return "\n".join([*lines, f"{output}, {account_of(output).name}"])
