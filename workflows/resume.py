"""Going on with a campaign that has ended, whatever ended it: a new campaign that begins where the old one was done.

Its inputs are the outputs of the last iteration that was finished. What was done of the next one comes from AiiDA's
cache: the plan of an iteration follows from settings and seed alone, so that each job has the same inputs again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from aiida import orm

from ..mlip.settings import SettingsError, parsed_yaml
from ..provenance_db.called import is_stillborn
from ..provenance_db.queries import chain, descendants, own_iterations
from .budget import limit_reached, too_many_labels
from .builder import builder_of
from .config import config_from_document
from .config_keys import OWN_FILES
from .data import DatasetData
from .functions import to_relabel
from .own import StoredFiles
from .pw_results import MACHINE_REASONS


class ResumeError(ValueError):
    """A campaign that cannot be resumed, or needs no resuming: says why, and what can be done."""


def resume_builder(campaign: orm.WorkChainNode, assignments: Sequence[str] = ()) -> Any:
    """Builder of a campaign that goes on from the newest part of the given one, ready to submit.

    :param assignments: changed settings, each 'section.key=value' with the value as YAML.

    Raises ResumeError where nothing can or needs to be resumed, SettingsError for a setting that cannot be used.
    """
    parts = chain(campaign)
    newest = parts[-1]
    check_ended(newest)
    where = f"campaign {newest.pk}"
    given = newest.inputs.settings.get_dict()["campaign"]
    document = functools.reduce(assigned, assignments, given)
    if assignments:
        where += f" with {', '.join(assignments)}"
    check_same_files(given, document)
    last = last_finished(parts)
    builder = builder_of(config_from_document(document, where), where, StoredFiles(parts, begun=last is not None))
    dataset = last.outputs.dataset if last is not None else builder.start.get("dataset")
    check_protocol(dataset, builder.settings["label"], where)
    if last is not None:
        builder.previous = {name: last.outputs[name] for name in ("plan", "dataset", "committee")}
        builder.besides = lost_by_the_machine(parts, last)
    check_unfinished(newest, last, builder)
    changes = differences(newest.inputs.settings.get_dict(), builder.settings.get_dict())
    builder.resumption = orm.Dict({"campaign": newest.uuid, "changes": changes})
    builder.metadata.label, builder.metadata.description = newest.label, newest.description
    return builder


def assigned(document: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """The campaign's document with one value replaced; SettingsError for what is no 'section.key=value'."""
    path, equals, text = assignment.partition("=")
    names = [name.strip() for name in path.split(".")]
    if not equals or not all(names):
        raise SettingsError(f"--set {assignment}: expected KEY=VALUE, such as stop.iterations=8")
    try:
        value = parsed_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"--set {assignment}: the value is not valid YAML") from error

    def replaced(part: Any, rest: Sequence[str]) -> Any:
        if not rest:
            return value
        if not isinstance(part, Mapping):
            raise SettingsError(f"--set {assignment}: {names[0]} has no key {rest[0]!r}")
        return {**part, rest[0]: replaced(part.get(rest[0], {}), rest[1:])}

    changed: dict[str, Any] = replaced(document, names)
    return changed


def check_ended(campaign: orm.WorkChainNode) -> None:
    """Raise ResumeError for a campaign that is at work, or has processes that still are."""
    if not campaign.is_terminated:
        raise ResumeError(
            f"campaign {campaign.pk} has not ended: it goes on by itself while a daemon runs (`verdi daemon start`); "
            f"`argonaut repair {campaign.pk}` mends what a kill may have left"
        )
    alive = [node.pk for node in descendants(campaign) if not node.is_terminated and not is_stillborn(node)]
    if alive:
        some = ", ".join(map(str, alive[:5]))
        raise ResumeError(
            f"campaign {campaign.pk} has ended, but {len(alive)} of its processes have not ({some}"
            f"{' ...' if len(alive) > 5 else ''}); `argonaut repair {campaign.pk}` ends them"
        )


def last_finished(parts: Sequence[orm.WorkChainNode]) -> orm.WorkChainNode | None:
    """The last iteration that was finished well, if there is one."""
    finished = [node for part in parts for node in own_iterations(part).values() if node.is_finished_ok]
    return finished[-1] if finished else None


def lost_by_the_machine(parts: Sequence[orm.WorkChainNode], last: orm.WorkChainNode) -> Any:
    """Configurations whose labels were lost to something that was not chemistry's fault; None if there are none."""
    known = {frame.configuration.configuration_id for frame in last.outputs.dataset.dataset().frames}
    given: dict[str, Any] = {}
    for number, node in enumerate(node for part in parts for node in own_iterations(part).values()):
        losses = node.outputs.losses["lost"] if node.is_finished_ok and "losses" in node.outputs else []
        if {loss["configuration_id"] for loss in losses if loss["reason"] in MACHINE_REASONS} - known:
            given |= {f"candidates_{number:03d}": node.outputs.candidates, f"losses_{number:03d}": node.outputs.losses}
    return to_relabel(last.outputs.dataset, **given) if given else None


def check_same_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise ResumeError where other files are named: those of the beginning are stored, and are taken from there."""
    for section, names in OWN_FILES.items():
        for name in names:
            if before.get(section, {}).get(name) != after.get(section, {}).get(name):
                raise ResumeError(f"{section}.{name} is fixed when a campaign begins; launch another campaign with it")


def check_protocol(dataset: DatasetData | None, label: Mapping[str, Any], where: str) -> None:
    """Raise ResumeError where new labels would not be comparable with those that there are."""
    if dataset is not None and dataset.base.attributes.get("protocol_hash") != label["protocol_hash"]:
        before, after = dataset.dataset().protocol, label["protocol"]
        told = "; ".join(f"{key}: {old!r} -> {new!r}" for key, (old, new) in differences(before, after).items())
        raise ResumeError(f"{where}: labels of two protocols do not mix ({told}); launch another campaign")


def check_unfinished(newest: orm.WorkChainNode, last: orm.WorkChainNode | None, builder: Any) -> None:
    """Raise ResumeError where the settings leave nothing to do, or the budget nothing to do it with."""
    settings = builder.settings.get_dict()
    done = -1 if last is None else last.outputs.plan["iteration"]
    if done >= settings["stop"]["iterations"]:
        raise ResumeError(
            f"campaign {newest.pk} has done all its iterations after the seed set ({done}); add some with "
            f"--set stop.iterations={done + 3}"
        )
    errors = last.outputs.errors.get_dict() if last is not None and "errors" in last.outputs else {}
    rmse, target = errors.get("before", {}).get("forces_rmse_meV_per_A"), settings["stop"]["force_rmse"]
    if rmse is not None and target is not None and rmse <= 1000 * target:
        raise ResumeError(
            f"campaign {newest.pk} has reached its target: forces on fresh labels are within {rmse:.0f} meV/Å RMSE; "
            f"set a lower one with --set stop.force_rmse={rmse / 2000:.3g}"
        )
    besides = builder.besides.n_frames if builder.besides is not None else 0
    has_committee = last is not None or "committee" in builder.start
    limit = limit_reached(newest, settings["budget"]) or too_many_labels(
        newest, settings, done + 1, has_committee, besides
    )
    if limit is not None:
        raise ResumeError(
            f"campaign {newest.pk} is at a limit: {limit.reason}; raise it with --set budget.{limit.key}=..."
        )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{'section.key': [old, new]} of all values that differ, the campaign file's own text aside."""
    old, new = _flat(before), _flat(after)
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return {key: [old.get(key), new.get(key)] for key in keys if not key.startswith("campaign.")}


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
