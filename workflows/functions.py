"""Calcfunctions: short doors from the record into plain functions; every union and choice gets its provenance here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from ..mlip import dataset as datasets
from ..mlip.fresh import fresh_errors
from ..mlip.labelling import loss_document
from ..mlip.model_files import merge_model_folders
from ..mlip.starts import choose_starts
from .data import CommitteeData, ConfigurationsData, DatasetData
from .plan import iteration_plan
from .pw_results import collect, pseudo_atom_energies, pw_inputs


@calcfunction
def plan_iteration(settings: orm.Dict, seed: orm.Int, previous: orm.Dict | None = None) -> dict[str, Any]:
    """The settings of every stage of the next iteration, with seeds derived from the campaign's seed."""
    done = previous["iteration"] + 1 if previous is not None else 0
    plan = iteration_plan(settings.get_dict(), seed.value, done)
    members = {name: orm.Dict(document) for name, document in plan.pop("members").items()}
    return {**{name: orm.Dict(document) for name, document in plan.items()}, "members": members}


@calcfunction
def reference_energies(**pseudos: orm.Data) -> orm.Dict:
    """Energies of the pseudo-atoms by element, eV, as ld1.x left them in the headers of the pseudopotentials."""
    return orm.Dict(pseudo_atom_energies(pseudos))


@calcfunction
def choose_exploration_starts(
    dataset: DatasetData, configurations: ConfigurationsData, settings: orm.Dict
) -> ConfigurationsData:
    """Where trajectories start: all new random configurations, and some frames of the dataset."""
    chosen = choose_starts(
        [frame.configuration for frame in dataset.dataset().frames],
        configurations.configurations(),
        count=settings["dataset_starts"],
        seed=settings["seed"],
    )
    with tempfile.TemporaryDirectory() as scratch:
        return ConfigurationsData.from_configurations(chosen, Path(scratch))


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
        outputs["labels"] = _stored(datasets.Dataset.from_frames(frames, settings["protocol"]))
    return outputs


@calcfunction
def lose_shard(configurations: ConfigurationsData) -> orm.Dict:
    """The account of a shard whose labeller left none: every label is lost, and chemistry had no part in it."""
    message = "the labeller of the whole shard failed in every attempt"
    lost = [loss_document(c, "infrastructure", message) for c in configurations.configurations()]
    return orm.Dict({"submitted": len(lost), "ok": 0, "lost": lost})


@calcfunction
def merge_datasets(**parts: DatasetData) -> DatasetData:
    """All frames of the parts; refuses to mix protocols."""
    return _stored(datasets.merge([parts[name].dataset() for name in sorted(parts)]))


@calcfunction
def merge_losses(**parts: orm.Dict) -> orm.Dict:
    """The losses of the parts as one account."""
    documents = [parts[name].get_dict() for name in sorted(parts)]
    return orm.Dict(
        {
            "submitted": sum(document["submitted"] for document in documents),
            "ok": sum(document["ok"] for document in documents),
            "lost": [loss for document in documents for loss in document["lost"]],
        }
    )


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
    """Errors on the fresh labels: of the predictions made before they were labelled, and after training on them."""
    before = None if candidates is None else candidates.predicted_frames()
    return orm.Dict(fresh_errors(labels.dataset().frames, after.predicted_frames(), before))


def _stored(dataset: datasets.Dataset) -> DatasetData:
    with tempfile.TemporaryDirectory() as scratch:
        return DatasetData.from_dataset(dataset, Path(scratch))
