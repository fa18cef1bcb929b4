"""argonaut train: labelled frames in, a model folder out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .given import IMPORT, OUTPUT_FOLDER, SEED

if TYPE_CHECKING:
    from ..committee import Committee
    from ..dataset import Dataset
    from ..train_settings import TrainSettings

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 10_000 * 3600.0
"""s, more than a year; what is longer is a slip."""
UNLIMITED = 10**9
"""Steps of a training that ends by its budget."""
PAUSED = "paused.json"
"""In the output folder of a training that is not done: seed of the member that is under way, and its progress."""
SHOWN = 20
"""Frames left out that are told one by one."""


class Duration(click.ParamType):
    """'90', '90s', '30m', '2h' -> seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; a usage error for anything that is not a positive duration."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip())
        seconds = 0.0 if match is None else float(match[1]) * _SECONDS[match[2]]
        if not 0 < seconds <= LONGEST:
            self.fail(f"'{value}' is no duration; write 90s, 30m or 2h", param, ctx)
        return seconds


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=OUTPUT_FOLDER, help="Model folder.")
@click.option("--architecture", help="Default: teanet, or that of the initial model.")
@click.option("--preset", help="Default: campaign, or that of the initial model.")
@click.option("--members", default=1, show_default=True, type=click.IntRange(min=1), help="Members of the committee.")
@click.option("--seed", default=0, show_default=True, type=SEED, help="Member k has seed SEED + k.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML or JSON settings.")
@click.option("--budget", type=Duration(), help="Wall time for all members, e.g. 30m.")
@click.option("--stop-after", type=Duration(), help="Pause with a checkpoint; the same command goes on from it.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 ... or auto.")
@click.option(
    "--reference-energies",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='JSON {"H": -13.6, ...}: eV of free atoms. Without it they are fitted.',
)
@click.option("--elements", default="", help="Symbols, H,C,O: known to the model even where DATA has none of them.")
@click.option(
    "--initial",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Model folder: start from its weights instead of random ones, with its hyperparameters and scale.",
)
@click.option(
    "--initial-member",
    type=click.IntRange(min=0),
    help="Member of the initial model that the first one starts from, the next from the next. [default: 0]",
)
@IMPORT
@click.option("--skip-bad", is_flag=True, help="Leave out frames that cannot be trained with, and say which and why.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the bonds of all frames: for data sets that are too large for the memory; kept and used again.",
)
@click.option("--no-picture", is_flag=True, help="Do not draw the learning curve; see argonaut learning-curve.")
def train(
    data: tuple[Path, ...],
    output: Path,
    architecture: str | None,
    preset: str | None,
    members: int,
    seed: int,
    config: Path | None,
    budget: float | None,
    stop_after: float | None,
    device: str,
    reference_energies: Path | None,
    elements: str,
    initial: Path | None,
    initial_member: int | None,
    skip_bad: bool,
    cache: Path | None,
    no_picture: bool,
) -> None:
    """Train a potential, or a committee, on labelled frames.

    DATA are dataset folders or extended XYZ files of one protocol. Training that was interrupted goes on where it was
    when the same command is run again. With --budget all of that time is used, unless --config says how many steps.
    A training that --stop-after has paused is not done: exit code 1.

    With `target:` in --config one number per structure is learned (formation energy, gap, moduli) instead of a
    potential; DATA may then be files of JARVIS-DFT or the Materials Project, too.

    \b
    Example:
      argonaut train labels.extxyz -o model --members 4 --seed 1 --budget 30m
      argonaut train new.extxyz -o tuned --members 4 --initial model
      argonaut train jdft_3d.json.zip -o gap --config gap.yaml
    """
    _check_initial(initial, initial_member, output)
    if config is not None and _has_target(config):
        _refuse_for_target(config, reference_energies, elements, initial, skip_bad, cache)
        from .property import train_property_model

        chosen = architecture or "potnet"
        with _pausing(output), _Live(output, seed, members) as live:
            train_property_model(
                data, output, chosen, preset or ("published" if chosen == "potnet" else "campaign"), members, seed,
                config, budget, stop_after, device, live, not no_picture,
            )  # fmt: skip
        return
    from ..initial import Initial
    from ..training import train_committee

    settings = _settings(config, budget)
    dataset = _frames(data, skip_bad)
    energies = None if reference_energies is None else read_reference_energies(reference_energies)
    start = None if initial is None else Initial.load(initial, initial_member or 0)
    checkpoints = output / "checkpoints"
    with _pausing(output), _Live(output, seed, members) as live:
        committee = train_committee(
            dataset, architecture, preset, settings, seed, members, energies, _numbers(elements), budget, device,
            checkpoints, live.report, start, cache, stop_after,
        )  # fmt: skip
    committee.save(output)
    if not no_picture:
        from ..learning_curve import plot_learning_curve

        plot_learning_curve(committee.metrics, output / "learning_curve.png")
    shutil.rmtree(checkpoints, ignore_errors=True)
    _tell(output, committee, f"{len(dataset)} frames{'' if initial is None else f', from the weights of {initial}'}")


def _check_initial(initial: Path | None, initial_member: int | None, output: Path) -> None:
    if initial is None and initial_member is not None:
        raise click.UsageError("--initial-member needs --initial, the model whose member it is")
    if initial is not None and initial.resolve() == output.resolve():
        raise click.UsageError(f"--initial {initial} is the output folder too; write the new model elsewhere")


def _has_target(config: Path) -> bool:
    from ..settings import read_mapping

    return "target" in read_mapping(config)


def _refuse_for_target(config: Path, *given: object) -> None:
    """A usage error for options of potentials beside a target."""
    options = ("--reference-energies", "--elements", "--initial", "--skip-bad", "--cache")
    for option, value in zip(options, given, strict=True):
        if value:
            raise click.UsageError(f"{option} is for potentials; {config} has a target")


def _settings(config: Path | None, budget: float | None) -> TrainSettings:
    from ..settings import load_settings, read_mapping
    from ..train_settings import TrainSettings

    settings = load_settings(TrainSettings, config)
    if budget is not None and (config is None or "steps" not in read_mapping(config)):
        settings = replace(settings, steps=UNLIMITED)
    return settings


def _frames(data: Sequence[Path], skip_bad: bool) -> Dataset:
    """All frames; what is to be known of them is told."""
    from ..dataset import is_dataset
    from ..frame_checks import load_training_frames

    dataset, skipped = load_training_frames(data, skip_bad, check_units=not all(map(is_dataset, data)))
    for each in skipped[:SHOWN]:
        click.echo(f"left out: {each}", err=True)
    if len(skipped) > SHOWN:
        click.echo(f"left out: {len(skipped) - SHOWN} more", err=True)
    if dataset.one_lineage:
        click.echo("all frames are of one lineage: validation frames are relatives of training frames", err=True)
    return dataset


def _numbers(elements: str) -> list[int]:
    """Atomic numbers of symbols that commas or blanks part."""
    from ..baseline import reference_energies_from_symbols

    symbols = elements.replace(",", " ").split()
    return [number for number, _ in reference_energies_from_symbols(dict.fromkeys(symbols, 0.0), "--elements")]


@contextmanager
def _pausing(output: Path) -> Iterator[None]:
    """A training that is paused inside leaves PAUSED in the output folder, and the command exits 1."""
    from ..train_settings import TrainingPaused

    paused = output / PAUSED
    paused.unlink(missing_ok=True)
    try:
        yield
    except TrainingPaused as pause:
        output.mkdir(parents=True, exist_ok=True)
        paused.write_text(json.dumps({"seed": pause.seed, "progress": pause.progress}) + "\n")
        click.echo(f"{output}: not done, {pause}; the same command goes on", err=True)
        raise click.exceptions.Exit(1) from pause


def _tell(output: Path, committee: Committee, what: str) -> None:
    count = len(committee.members)
    click.echo(
        f"{output}: {count} member{'s' * (count > 1)} of {committee.architecture.name}/{committee.preset}, {what}"
    )
    for member in committee.card["members"]:
        best = member["best"]
        click.echo(
            f"  seed {member['seed']}: {member['steps']} steps in {member['seconds']:.0f} s, "
            f"energy {best['validation_energy_mae_mev_per_atom']:.1f} meV/atom, "
            f"forces {best['validation_force_mae_mev_per_angstrom']:.0f} meV/Å on validation frames"
        )


class _Live:
    """What is seen of a training while it runs: a line or a bar, and metrics.jsonl in the output folder."""

    def __init__(self, output: Path, seed: int, members: int) -> None:
        from .progress import Progress

        self.path, self.seed = output / "metrics.jsonl", seed
        self.progress = Progress("training", members)
        self.lines: dict[int, dict[int, dict[str, Any]]] = {}
        self.first: dict[int, tuple[float, float]] = {}

    def __enter__(self) -> _Live:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def report(self, member_seed: int, done: float, line: Mapping[str, Any]) -> None:
        """One more validation."""
        member = member_seed - self.seed
        told = self.lines.setdefault(member, {})
        told[line["step"]] = {"member": member, **line}
        rows = [json.dumps(row) + "\n" for each in self.lines.values() for row in each.values()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(rows))
        seconds, begun = self.first.setdefault(member, (line["seconds"], done))  # compiling came before
        if done == begun:
            seconds, begun = 0.0, 0.0
        left = (line["seconds"] - seconds) * (1.0 - done) / (done - begun) if done > 0 else 0.0
        self.progress.update(
            member + done,
            f"member {member}: step {line['step']}, {line['step'] / max(line['seconds'], 1e-9):.1f}/s, "
            f"{_error(line)}, "
            f"{_clock(left)} left for it",
        )


def _error(line: Mapping[str, Any]) -> str:
    if "validation_mae" in line:
        return f"MAE {line['validation_mae']:.4g}"
    return f"forces within {line['validation_force_mae_mev_per_angstrom']:.0f} meV/Å"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def read_reference_energies(path: Path) -> dict[int, float]:
    """{symbol: eV} from a JSON file as {atomic number: eV}; raises FrameError for what is not such a table."""
    from ..baseline import reference_energies_from_symbols
    from ..frames import FrameError

    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return dict(reference_energies_from_symbols(table, str(path)))
    except FrameError:
        raise
    except (ValueError, AttributeError, TypeError) as error:
        raise FrameError(f'{path}: expected a JSON table such as {{"H": -13.6, "O": -432.1}}: {error}') from error
