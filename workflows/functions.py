"""Calcfunctions: short doors from the record into plain functions; every union and choice gets its provenance here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase import Atoms

from ..mlip import dataset as datasets
from ..mlip.frames import Configuration, write_atoms
from ..mlip.fresh import fresh_errors
from ..mlip.labelling import account, loss_document, merge_accounts
from ..mlip.model_files import merge_model_folders
from ..mlip.pool import PoolError, draw
from ..mlip.starts import choose_starts
from ..provenance_db.queries import NOT_SUBMITTED
from .data import FRAMES_FILE, CommitteeData, ConfigurationsData, DatasetData, dataset_node
from .plan import iteration_plan
from .pw_results import MACHINE_REASONS, collect, pseudo_atom_energies, pw_inputs
from .reference_atoms import HEADERS, SAME_PROTOCOL, atom_energies, atoms_due, isolated_atoms, without_atoms


@calcfunction
def plan_iteration(
    settings: orm.Dict,
    seed: orm.Int,
    previous: orm.Dict | None = None,
    committee: CommitteeData | None = None,
    initial: CommitteeData | None = None,
    dataset: DatasetData | None = None,
) -> dict[str, Any]:
    """The settings of every stage of the next iteration, with seeds derived from the campaign's seed.

    :param committee: what it explores with; without one it labels a seed set.
    :param initial: whose weights its training starts from, if it does not start from random ones.
    :param dataset: given with a campaign's first iteration: isolated atoms that it has are not labelled again.
    :returns: a document per stage, and `reference_atoms` where isolated atoms shall be labelled.
    """
    done = previous["iteration"] + 1 if previous is not None else 0
    plan = iteration_plan(
        settings.get_dict(), seed.value, done, explores=committee is not None, tunes=initial is not None
    )
    members = {name: orm.Dict(document) for name, document in plan.pop("members").items()}
    known = [] if dataset is None else atom_energies(dataset.dataset().frames)
    atoms = isolated_atoms(symbol for symbol in atoms_due(settings.get_dict(), done) if symbol not in known)
    return {
        **{name: orm.Dict(document) for name, document in plan.items()},
        "members": members,
        **({"reference_atoms": _configurations(atoms)} if atoms else {}),
    }


@calcfunction
def reference_energies(dataset: DatasetData | None = None, **pseudos: orm.Data) -> orm.Dict:
    """Energies of atoms by element, eV: of the isolated atoms in the dataset, if one is given.

    Else of the pseudo-atoms, as ld1.x left them in the headers of the pseudopotentials.
    """
    if dataset is None:
        return orm.Dict(pseudo_atom_energies(pseudos), label=HEADERS)
    return orm.Dict(atom_energies(dataset.dataset().frames), label=SAME_PROTOCOL)


@calcfunction
def choose_exploration_starts(
    configurations: ConfigurationsData, settings: orm.Dict, dataset: DatasetData | None = None
) -> ConfigurationsData:
    """Where trajectories start: all new configurations, and some frames of the dataset if there is one.

    Isolated atoms have nothing to explore.
    """
    frames = [] if dataset is None else without_atoms(dataset.dataset().frames)
    known = [frame.configuration for frame in frames]
    fresh = configurations.configurations()
    return _configurations(choose_starts(known, fresh, count=settings["dataset_starts"], seed=settings["seed"]))


@calcfunction
def split_configurations(configurations: ConfigurationsData, settings: orm.Dict) -> dict[str, Any]:
    """Shards of at most `shard_size` configurations, named shard_000 ...; predictions go with their frames."""
    size, n_frames = settings["shard_size"], configurations.n_frames
    return {
        f"shard_{index:03d}": configurations.part(start, min(start + size, n_frames))
        for index, start in enumerate(range(0, n_frames, size))
    }


@calcfunction
def prepare_pw(configurations: ConfigurationsData, settings: orm.Dict) -> dict[str, Any]:
    """Everything pw.x is asked, per configuration: structures, k points and parameters, with their provenance."""
    return pw_inputs(configurations.configurations(), settings.get_dict())


@calcfunction
def collect_pw(configurations: ConfigurationsData, settings: orm.Dict, **results: orm.Data) -> dict[str, Any]:
    """Labels and losses from the outputs of the pw.x calculations (see `pw_results.collect` for their names)."""
    frames, losses = collect(configurations.configurations(), settings.get_dict(), results)
    outputs: dict[str, Any] = {"losses": orm.Dict(losses)}
    if frames:
        outputs["labels"] = dataset_node(datasets.Dataset.from_frames(frames, settings["protocol"]))
    return outputs


@calcfunction
def lose_shard(configurations: ConfigurationsData) -> orm.Dict:
    """The account of a shard whose labeller left none: every label is lost, and chemistry had no part in it."""
    return _all_lost(configurations, "infrastructure", "the labeller of the whole shard failed in every attempt")


@calcfunction
def shelve_shard(configurations: ConfigurationsData) -> orm.Dict:
    """The account of a shard that was never labelled, because the campaign came to a limit first."""
    return _all_lost(configurations, NOT_SUBMITTED, "the campaign came to a limit first")


@calcfunction
def draw_from_pool(
    pool: ConfigurationsData, settings: orm.Dict, dataset: DatasetData | None = None
) -> ConfigurationsData | ExitCode:
    """`count` configurations of the pool that are not in the dataset, drawn by the seed."""
    known = [] if dataset is None else [f.configuration.configuration_id for f in dataset.dataset().frames]
    try:
        drawn = draw(pool.configurations(), known, settings["count"], settings["seed"])
    except PoolError as error:
        return ExitCode(1, str(error))
    return _configurations(drawn)


@calcfunction
def join_configurations(chosen: ConfigurationsData, besides: ConfigurationsData) -> ConfigurationsData:
    """The chosen candidates with their predictions, then those to be labelled besides; none of them twice."""
    frames: dict[str, Atoms] = {}
    for frame in [*chosen.atoms(), *besides.atoms()]:
        frames.setdefault(Configuration.from_atoms(frame).configuration_id, frame)
    with tempfile.TemporaryDirectory() as scratch:
        write_atoms(Path(scratch) / FRAMES_FILE, frames.values())
        return ConfigurationsData.from_file(Path(scratch) / FRAMES_FILE)


@calcfunction
def to_relabel(dataset: DatasetData, **parts: orm.Data) -> ConfigurationsData:
    """Of `candidates_N`, those that `losses_N` calls lost by the machine and that the dataset has not got since."""
    known = {frame.configuration.configuration_id for frame in dataset.dataset().frames}
    found: dict[str, Configuration] = {}
    for name, losses in parts.items():
        if isinstance(losses, orm.Dict):
            lost = {loss["configuration_id"] for loss in losses["lost"] if loss["reason"] in MACHINE_REASONS}
            for configuration in parts[name.replace("losses", "candidates")].configurations():
                if configuration.configuration_id in lost - known:
                    found[configuration.configuration_id] = configuration
    return _configurations(list(found.values()))


def _all_lost(configurations: ConfigurationsData, reason: str, message: str) -> orm.Dict:
    asked = configurations.configurations()
    return orm.Dict(account(asked, [], [], [loss_document(each, reason, message) for each in asked]))


def _configurations(chosen: list[Configuration]) -> ConfigurationsData:
    with tempfile.TemporaryDirectory() as scratch:
        return ConfigurationsData.from_configurations(chosen, Path(scratch))


@calcfunction
def merge_datasets(**parts: DatasetData) -> DatasetData:
    """All frames of the parts; refuses to mix protocols."""
    return dataset_node(datasets.merge([parts[name].dataset() for name in sorted(parts)]))


@calcfunction
def merge_losses(**parts: orm.Dict) -> orm.Dict:
    """The losses of the parts as one account."""
    return orm.Dict(merge_accounts(parts[name].get_dict() for name in sorted(parts)))


@calcfunction
def merge_committee(**members: CommitteeData) -> CommitteeData:
    """One committee of all members, in the order of their names."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [members[name].export_to(Path(scratch) / name) for name in sorted(members)]
        return CommitteeData.from_folder(merge_model_folders(folders, Path(scratch) / "committee"))


@calcfunction
def compare_fresh(
    labels: DatasetData, after: ConfigurationsData, candidates: ConfigurationsData | None = None
) -> orm.Dict:
    """Errors on the fresh labels: of the predictions made before they were labelled, and after training on them.

    Isolated atoms do not count: reference energies make them right.
    """
    before = None if candidates is None else candidates.predicted_frames()
    return orm.Dict(fresh_errors(without_atoms(labels.dataset().frames), after.predicted_frames(), before))
