"""Isolated atoms are asked for in their own way, count once, and nothing is explored from them or measured on them."""

import numpy as np
import pytest

from aiida_argonaut.dft_inputs.protocol import Protocol, pw_parameters
from aiida_argonaut.dft_inputs.reference_atoms import BOX, reference_atom
from aiida_argonaut.mlip.dataset import Dataset, DatasetError, merge
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame
from aiida_argonaut.workflows.reference_atoms import (
    atom_energies,
    atoms_due,
    is_reference_atom,
    isolated_atoms,
    without_atoms,
)

H, LI = isolated_atoms(["Li", "H"])
ELEMENTS = {"train": {"elements": ["H", "He"]}}


def framed(configuration, energy, protocol="p1"):
    return LabelledFrame(configuration, energy, np.zeros((len(configuration), 3)), None, protocol)


@pytest.fixture
def dataset_of(profile):
    """A stored DatasetData of these frames."""
    from aiida_argonaut.workflows.data import dataset_node

    return lambda *frames: dataset_node(Dataset(frames, {"code": "none"})).store()


def test_an_atom_is_known_by_what_it_is():
    assert (H.formula, LI.formula, H.origin.source, H.origin.seed) == ("H", "Li", "reference_atom", "H")
    assert is_reference_atom(H)
    called_otherwise = Configuration([1], np.zeros((1, 3)), np.diag(BOX))
    assert is_reference_atom(called_otherwise)
    assert called_otherwise.configuration_id == H.configuration_id
    assert not is_reference_atom(Configuration([1], np.zeros((1, 3)), 3 * np.eye(3), origin=H.origin))
    assert not is_reference_atom(Configuration([1], np.zeros((1, 3)), np.zeros((3, 3)), (False,) * 3))


def test_atoms_are_due_with_the_seed_set_alone():
    assert atoms_due({**ELEMENTS, "label": {"reference_atoms": True}}, 0) == ["H", "He"]
    assert atoms_due({**ELEMENTS, "label": {"reference_atoms": True}}, 1) == []
    assert atoms_due({**ELEMENTS, "label": {"reference_atoms": False}}, 0) == []
    assert atoms_due({**ELEMENTS, "label": {}}, 0) == []


def test_atoms_of_another_protocol_are_refused(configurations):
    ours = Dataset((framed(configurations[0], -7.0),), {"spin": "none"})
    theirs = Dataset((framed(H, -13.6, "p2"),), {"spin": "collinear"})
    with pytest.raises(DatasetError, match="spin: 'none' and 'collinear'"):
        merge([ours, theirs])


def test_pw_is_asked_in_the_way_of_atoms_for_them_alone(profile, settings, configurations):
    from aiida_argonaut.workflows.pw_results import pw_inputs

    prepared = pw_inputs([configurations[0], H], settings)
    cell, atom = (
        {key: prepared[key][prepared["asked"][name][key]] for key in ("parameters", "kpoints")}
        for name in ("label_000", "label_001")
    )
    assert atom["kpoints"].get_kpoints_mesh()[0] == [1, 1, 1]
    wanted = reference_atom(Protocol(**settings["request"]), "H", settings["elements"], tuple(settings["cutoffs"]))
    assert atom["parameters"].get_dict() == wanted.parameters
    assert "nosym" not in cell["parameters"]["SYSTEM"]


@pytest.mark.parametrize(("which", "good"), [("atom", True), ("cell", False)])
@pytest.mark.parametrize("how", [None, 0])
def test_the_parameters_of_an_atom_give_labels_of_atoms_alone(
    which, good, how, settings, configurations, pw_label, profile
):
    """Also after a rescue."""
    from aiida_argonaut.workflows.pw_failures import last_calculation
    from aiida_argonaut.workflows.pw_results import collect

    asked = reference_atom(Protocol(**settings["request"]), "H", settings["elements"], tuple(settings["cutoffs"]))
    given = H if which == "atom" else configurations[0]
    calculation = last_calculation(pw_label(how, ((0, {"n_atoms": len(given)}),), asked.parameters))
    results = {"label_000": calculation.outputs.retrieved}
    frames, losses = collect([given], settings, results)
    assert bool(frames) == good
    assert [loss["reason"] for loss in losses["lost"]] == ([] if good else ["not_nominal"])


def test_an_atom_asked_like_a_cell_is_no_label(settings, pw_label, profile):
    from aiida_argonaut.workflows.pw_failures import last_calculation
    from aiida_argonaut.workflows.pw_results import collect

    asked = pw_parameters(Protocol(**settings["request"]), settings["elements"], ["H"], tuple(settings["cutoffs"]))
    calculation = last_calculation(pw_label(None, ((0, {"n_atoms": 1}),), asked))
    results = {"label_000": calculation.outputs.retrieved}
    _, losses = collect([H], settings, results)
    assert losses["lost"][0]["reason"] == "not_nominal"
    assert losses["lost"][0]["message"].startswith("conv_thr 1e-08 instead of 1e-06")
    assert losses["sources"] == {"reference_atom": [1, 0, 0, 1]}


@pytest.mark.parametrize(("occupations", "out"), [("smearing", True), ("fixed", False)])
def test_all_bands_may_be_occupied_where_occupations_are_fixed(occupations, out, pw_label):
    from aiida_argonaut.workflows.pw_failures import bands_run_out, outputs_of

    asked = {"SYSTEM": {"occupations": occupations}, "ELECTRONS": {}}
    calculation = pw_label(None, ((0, {"occupations": [1.0, 1.0]}),), asked)
    assert bands_run_out(calculation, outputs_of(calculation)) is out


def test_reference_energies_are_those_of_the_atoms_in_the_dataset(dataset_of, configurations):
    from aiida_argonaut.workflows.functions import reference_energies

    frames = (framed(LI, -200.0), framed(configurations[0], -7.0), framed(H, -13.6))
    assert atom_energies(frames) == {"H": -13.6, "Li": -200.0}
    found = reference_energies(dataset=dataset_of(*frames))
    assert (found.get_dict(), found.label) == ({"H": -13.6, "Li": -200.0}, "atoms of the same protocol")
    assert list(without_atoms(frames)) == [frames[1]]


def test_nothing_is_explored_from_an_atom(dataset_of, configurations, tmp_path):
    from aiida import orm

    from aiida_argonaut.workflows.data import ConfigurationsData
    from aiida_argonaut.workflows.functions import choose_exploration_starts

    fresh = ConfigurationsData.from_configurations(configurations[:1], tmp_path).store()
    known = dataset_of(framed(H, -13.6), framed(configurations[1], -7.0))
    starts = choose_exploration_starts(fresh, orm.Dict({"dataset_starts": 5, "seed": 1}), dataset=known)
    assert [each.formula for each in starts.configurations()] == ["HLi", "He2"]


def test_structures_get_the_atoms_that_they_lack(configurations):
    from aiida_argonaut.workflows.label_structures import GivenStructures

    own = Configuration([1], np.zeros((1, 3)), np.diag(BOX))
    given = GivenStructures((own, configurations[0]), {own.configuration_id: ("a#0",), "c": ("a#1",)})
    assert given.isolated == 1
    more = given.with_atoms(["H", "Li"])
    assert [each.formula for each in more.configurations] == ["H", "HLi", "Li"]
    assert more.places[LI.configuration_id] == ("reference_atom#Li",)
    assert more.places[own.configuration_id] == ("a#0",)


def test_a_failed_attempt_is_lost_when_it_is_given_up(process):
    """What a rescue may follow is in flight."""
    from aiida_argonaut.provenance_db.queries import GIVEN_UP, label_counts

    label = process("LabelWorkChain", state="waiting")
    shard = process("LabelPwWorkChain", label, "shard", state="waiting")
    process("PwCalculation", shard, "label_000")
    failed = process("PwCalculation", shard, "label_001", status=410)
    assert label_counts(label) == (1, 0, 1)
    shard.base.extras.set(GIVEN_UP, [failed.pk])
    assert label_counts(label) == (2, 1, 0)
    process("LabelPwWorkChain", label, "shard_attempt_2", state="killed")
    process("PwCalculation", label, "other")
    assert label_counts(label) == (0, 0, 0)


def test_a_broker_that_does_not_answer_is_told(monkeypatch):
    import aiida.engine

    from aiida_argonaut.workflows.cli.profile import submitted
    from aiida_argonaut.workflows.setup import SetupError

    def refused(builder):
        raise ConnectionRefusedError

    monkeypatch.setattr(aiida.engine, "submit", refused)
    with pytest.raises(SetupError, match="verdi -p mine daemon restart"):
        submitted(None, "mine")
