"""Settings of the label stage: protocol, cutoffs, pseudopotentials and versions, fixed before anything is submitted."""

from __future__ import annotations

import dataclasses
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent

from ..dft_inputs.protocol import document_hash, protocol_document
from ..dft_inputs.pseudos.recipes import family_label
from ..dft_inputs.pseudos.upf import is_cut_off
from ..mlip.dataset import Dataset
from ..mlip.labelling import protocol_of
from .config import protocol_request
from .config_keys import CampaignConfig, LabelConfig
from .pw_results import pseudo_atom_energies
from .setup import COMPUTE_CODE, PW_CODE, PW_VERSION, SetupError


def load_stage_code(config: CampaignConfig, stage: str) -> orm.AbstractCode:
    """The AiiDA code of a stage; SetupError says how to get one."""
    given = config.stages[stage].code if stage in config.stages else None
    runs_pw = stage == "label" and config.label.labeller == "quantumespresso"
    label = given or (PW_CODE if runs_pw else COMPUTE_CODE)
    try:
        code: orm.AbstractCode = orm.load_code(label)
    except NotExistent as error:
        remedy = "run `argonaut setup`" if given is None else "`verdi code list` shows what there is"
        raise SetupError(f"stages: {stage}: no AiiDA code {label!r} in this profile; {remedy}") from error
    computer = code.computer
    if computer is None:
        raise SetupError(f"stages: {stage}: code {label!r} stands on no computer; expected one that is installed there")
    if not computer.is_configured:
        raise SetupError(
            f"stages: {stage}: computer {computer.label} of code {label!r} is not configured for you; run "
            f"`verdi computer configure {computer.transport_type} {computer.label}`"
        )
    return code


def label_settings(
    config: LabelConfig, elements: list[str], code: orm.AbstractCode, table: Dataset | None = None
) -> tuple[dict[str, Any], dict[str, orm.Data]]:
    """Settings document of the label stage, and the pseudopotentials by element (none without pw.x).

    :param table: where the labeller `table` looks labels up; its protocol is that of the campaign.
    """
    shared = {
        key: getattr(config, key)
        for key in ("labeller", "max_jobs", "shard_size", "max_attempts", "max_iterations", "clean_scratch")
    }
    if config.labeller == "ase":
        protocol = protocol_of(config.calculator, config.parameters)
        return {
            **shared,
            "calculator": config.calculator,
            "parameters": config.parameters,
            "protocol": protocol,
            "protocol_hash": document_hash(protocol),
            "reference": "least_squares",
        }, {}
    if table is not None:
        protocol = {"protocol": table.protocol, "protocol_hash": table.protocol_hash, "reference": "least_squares"}
        return {**shared, **protocol}, {}
    request = protocol_request(config)
    family = load_family(config.family or family_label())
    pseudos = family_pseudos(family, elements)
    cutoffs = family_cutoffs(family, elements, request)
    pw_version = config.pw_version or code.base.extras.get(PW_VERSION, None)
    if pw_version is None:
        raise SetupError(
            f"the version of pw.x behind {code.full_label} is not known, and labels of two versions do not mix: "
            "run `argonaut setup` for a local code, or state `label: pw_version:`"
        )
    protocol = protocol_document(request, {symbol: node.md5 for symbol, node in pseudos.items()}, pw_version, cutoffs)
    embedded = family.label == family_label()
    return {
        **shared,
        "reference_atoms": config.reference_atoms,
        "request": dataclasses.asdict(request),
        "elements": elements,
        "cutoffs": list(cutoffs),
        "family": family.label,
        "pw_version": pw_version,
        "protocol": protocol,
        "protocol_hash": document_hash(protocol),
        # only of the embedded family it is known that the header's energy is that of pw.x for the atom
        "reference": "pseudo_atoms" if embedded else "least_squares",
        "atom_energies": pseudo_atom_energies(pseudos) if embedded else None,
    }, pseudos


def load_family(label: str) -> orm.Group:
    """An installed aiida-pseudo family by label; SetupError lists those that are installed."""
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    try:
        family: orm.Group = orm.load_group(label)
        if isinstance(family, PseudoPotentialFamily):
            return family
    except NotExistent:
        pass
    installed = [group.label for group in orm.QueryBuilder().append(PseudoPotentialFamily).all(flat=True)]
    raise SetupError(
        f"no pseudopotential family {label!r} in this profile; installed: {', '.join(installed) or 'none'}. "
        "`argonaut setup` builds the embedded one, `aiida-pseudo install` others"
    )


def family_pseudos(family: Any, elements: list[str]) -> dict[str, orm.Data]:
    """Pseudopotentials by element; SetupError names those that a family lacks, and those that are cut off."""
    missing = [symbol for symbol in elements if symbol not in family.elements]
    if missing:
        raise SetupError(f"family {family.label!r} has no pseudopotential for {', '.join(missing)}")
    found = {symbol: family.get_pseudo(element=symbol) for symbol in elements}
    for symbol, node in found.items():
        if is_cut_off(node.get_content()):
            raise SetupError(
                f"family {family.label!r}: the file of {symbol}, {node.filename}, ends in the middle; install it again"
            )
    return found


def family_cutoffs(family: Any, elements: list[str], request: Any) -> tuple[float, float]:
    """Wave-function and density cutoff in Ry for all elements; the protocol's own values come first.

    The embedded family has a stringency of the protocol's name; of other families the default stringency is taken.
    """
    if request.wavefunction_cutoff and request.density_cutoff:
        return request.wavefunction_cutoff, request.density_cutoff
    try:
        stringency = request.stringency if request.stringency in family.get_cutoff_stringencies() else None
        wavefunction, density = family.get_recommended_cutoffs(
            elements=tuple(elements), stringency=stringency, unit="Ry"
        )
    except (ValueError, AttributeError) as error:  # families without cutoffs have no such method
        raise SetupError(
            f"family {family.label!r} recommends no cutoffs ({error}); set them with `aiida-pseudo family cutoffs "
            "set`, or state label: overrides: {wavefunction_cutoff: ..., density_cutoff: ...} in Ry"
        ) from error
    return request.wavefunction_cutoff or wavefunction, request.density_cutoff or density
