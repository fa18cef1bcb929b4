"""Labels without a campaign: one LabelWorkChain on structures that a user gives, its price, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from aiida import orm
from aiida.common.exceptions import NotExistent
from ase.data import atomic_numbers

from ..dft_inputs.elements import STRINGENCIES
from ..dft_inputs.protocol import Protocol, ProtocolError
from ..mlip.labelling import loss_document
from ..mlip.sanity import unphysical
from ..mlip.settings import SettingsError, parsed_yaml, read_mapping, settings_from_mapping
from ..provenance_db.called import is_stillborn
from ..provenance_db.queries import LARGEST_PK
from .builder import check_options
from .config import default_options, plain, protocol_request
from .config_keys import CampaignConfig, GenerateConfig, LabelConfig, StageConfig
from .data import ConfigurationsData
from .label import LabelWorkChain
from .label_account import summary_of_protocol
from .label_settings import label_settings, load_stage_code
from .label_structures import GIVEN, GivenStructures
from .price import Plan, label_stage
from .price_labels import expected_losses, label_price
from .price_sample import Sample
from .setup import SetupError

MOST_PRICED = 500
"""Structures, evenly taken from all, by which labels are priced."""
WORDS = {
    "stages: label: options": "--options",
    "stages: label": "--code",
    "state `label: pw_version:`": "give --pw-version",
    "state label: overrides: {wavefunction_cutoff: ..., density_cutoff: ...} in Ry": (
        "give --set wavefunction_cutoff=... --set density_cutoff=... in Ry"
    ),
}
"""What a campaign file calls things -> what they are called on the command line."""


def label_config(protocol: str, assignments: Sequence[str] = (), **others: Any) -> LabelConfig:
    """Settings of the label stage from what a command line says.

    :param protocol: a shipped protocol, or a YAML file of protocol values; its `stringency` names the shipped protocol
        whose values hold where the file says nothing.
    :param assignments: single values of the protocol, each 'key=value'.
    :param others: keys of LabelConfig; None is its default. Without a campaign isolated atoms are left out by default.
    """
    name, overrides = _protocol(protocol)
    overrides = {**overrides, **dict(map(_assigned, assignments))}
    given = {"reference_atoms": False, **{key: value for key, value in others.items() if value is not None}}
    config = settings_from_mapping(LabelConfig, {"protocol": name, "overrides": overrides, **given}, "label")
    try:
        protocol_request(config)
    except ProtocolError as error:
        raise SettingsError(f"--protocol {protocol}: {error}") from error
    return config


def _protocol(given: str) -> tuple[str, dict[str, Any]]:
    """Name of a shipped protocol, and the values that replace its own."""
    if given in STRINGENCIES:
        return given, {}
    if not Path(given).is_file():
        raise SettingsError(
            f"--protocol {given}: expected {', '.join(STRINGENCIES)}, or a YAML file of protocol values"
        )
    values = {key: _number(key, value) for key, value in read_mapping(given).items()}
    name = values.get("stringency")
    if name not in STRINGENCIES:
        raise SettingsError(f"{given}: stringency {name!r}: expected one of {', '.join(STRINGENCIES)}")
    return str(name), {"name": Path(given).stem, **values}


def _assigned(assignment: str) -> tuple[str, Any]:
    key, equals, text = (part.strip() for part in assignment.partition("="))
    if not key or not equals or not text:
        raise SettingsError(f"--set {assignment}: expected KEY=VALUE, such as kpoints_spacing=0.25")
    try:
        return key, _number(key, parsed_yaml(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"--set {assignment}: the value is not valid YAML") from error


def _number(key: str, value: Any) -> Any:
    """1e-9, which is text in YAML 1.1, as the number that it is where a protocol has a number."""
    numeric = {field.name for field in fields(Protocol) if "float" in str(field.type)}
    try:
        return float(value) if key in numeric and isinstance(value, str) else value
    except ValueError:
        return value


def label_builder(
    given: GivenStructures,
    config: LabelConfig,
    code: str | None = None,
    options: Mapping[str, Any] | None = None,
    elements: Sequence[str] = (),
) -> Any:
    """Builder of the work chain, ready to submit; nothing is stored. SettingsError or SetupError for what cannot be.

    :param code: label of the AiiDA code of pw.x; None is that of `argonaut setup`.
    :param options: AiiDA's scheduler options that differ from one core, no MPI.
    :param elements: symbols that count for cutoffs and protocol beside those of the structures.

    With `reference_atoms` an isolated atom of every element is labelled, too.
    """
    asked = {**default_options(), **(options or {})}
    stage = StageConfig(code, asked)
    campaign = CampaignConfig(GenerateConfig(pool="none"), label=config, stages={"label": stage})
    symbols = sorted({*given.elements, *elements}, key=lambda symbol: atomic_numbers[symbol])
    try:
        pw = load_stage_code(campaign, "label")
        check_options(asked, campaign, "label", pw, "stages: label")
        settings, pseudos = label_settings(config, symbols, pw)
    except (SetupError, SettingsError) as error:
        raise type(error)(_in_words_of_options(str(error))) from error
    check_some_can_be_labelled(given, settings)
    given = given.with_atoms(symbols) if config.reference_atoms else given
    builder: Any = LabelWorkChain.get_builder()
    builder.configurations = given.node()
    builder.settings = orm.Dict(plain({**settings, "options": asked}, "label"))
    builder.code, builder.pseudos = pw, pseudos
    builder.metadata.description = f"labels of {len(given.configurations)} structures in {', '.join(given.files)}"[:500]
    return builder


def _in_words_of_options(text: str) -> str:
    for old, new in WORDS.items():
        text = text.replace(old, new)
    return text


def refusals(given: GivenStructures, settings: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """(reason, message) by configuration_id of what the label stage will count as lost without asking pw.x."""
    floor, found = settings["request"]["minimum_distance_ratio"], {}
    for each in given.configurations:
        if not each.periodic:
            found[each.configuration_id] = ("not_periodic", "pw.x needs a cell; --box VACUUM puts it into one")
        elif problem := unphysical(each, floor):
            found[each.configuration_id] = ("atoms_too_close", problem)
    return found


def check_some_can_be_labelled(given: GivenStructures, settings: Mapping[str, Any]) -> None:
    """Raise SettingsError, naming the first, if pw.x would be asked for none of the structures."""
    found = refusals(given, settings)
    if len(found) == len(given.configurations):
        first = given.configurations[0]
        reason, message = found[first.configuration_id]
        place = given.places[first.configuration_id][0]
        raise SettingsError(
            f"none of the {len(found)} structures can be labelled; the first, {place} ({first.formula}): "
            f"{reason}: {message}"
        )


def unfinished_twin(builder: Any) -> int | None:
    """pk of a work chain that is labelling the same structures by the same protocol at this moment."""
    content = builder.configurations.base.attributes.get("content_hash")
    query = orm.QueryBuilder().append(
        ConfigurationsData, filters={"attributes.content_hash": content}, tag="configurations"
    )
    query.append(
        orm.WorkChainNode, with_incoming="configurations", edge_filters={"label": "configurations"}, project="*",
        filters={
            "attributes.process_label": "LabelWorkChain",
            "attributes.process_state": {"!in": ["finished", "killed", "excepted"]},
        },
    )  # fmt: skip
    for node in query.all(flat=True):
        same = node.inputs.settings["protocol_hash"] == builder.settings["protocol_hash"]
        if same and not is_stillborn(node):
            return int(node.pk)
    return None


def preview(builder: Any, given: GivenStructures) -> dict[str, Any]:
    """What would be submitted and what it would cost, as one document; stores nothing.

    :param given: what was read, without isolated atoms that are labelled besides.
    """
    settings, n_given = builder.settings.get_dict(), given.n_given
    structures = len(given.configurations)
    given = given.with_atoms(settings["elements"]) if settings["reference_atoms"] else given
    refused = refusals(given, settings)
    asked = [each for each in given.configurations if each.configuration_id not in refused]
    sampled = asked[:: -(-len(asked) // MOST_PRICED)]
    stages = {"label": settings, "stages": {"label": {"options": settings["options"]}}}
    place = SimpleNamespace(codes={"label": builder.code}, pseudos=builder.pseudos)
    labels = label_price(place, stages, Sample(sampled, sampled, 0.0, True))
    price = asdict(label_stage(stages, builder.code, Plan(1, 0, 0, (len(asked),)), labels))
    counted, told = f"{2 * len(sampled)} configurations of this campaign", f"{len(sampled)} of these structures"
    return {
        "given": n_given,
        "structures": structures,
        "reference_atoms": given.isolated,
        "labels": len(asked),
        "refused": [
            {**loss_document(each, *refused[each.configuration_id]), GIVEN: given.places[each.configuration_id][0]}
            for each in given.configurations
            if each.configuration_id in refused
        ],
        **summary_of_protocol(settings),
        "code": builder.code.full_label,
        "price": {**price, "source": price["source"].replace(counted, told)},
        "expected_lost": expected_losses(settings, len(asked)),
    }


def load_label_chain(identifier: str) -> Any:
    """The LabelWorkChain with this pk or uuid; SettingsError says what else it is."""
    try:
        if identifier.isdigit() and int(identifier) >= LARGEST_PK:
            raise NotExistent(identifier)
        node = orm.load_node(int(identifier) if identifier.isdigit() else identifier)
    except (NotExistent, ValueError) as error:
        raise SettingsError(
            f"--pk {identifier}: no such node in this profile; `verdi process list -a` shows what there is"
        ) from error
    what = getattr(node, "process_label", None) or type(node).__name__
    if what != "LabelWorkChain":
        raise SettingsError(f"--pk {identifier} is a {what}, expected the pk or uuid of a LabelWorkChain")
    if node.inputs.settings["labeller"] != "quantumespresso":
        raise SettingsError(f"--pk {identifier}: its labels are by {node.inputs.settings['labeller']}, not by pw.x")
    return node
