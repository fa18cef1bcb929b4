"""Every configuration leaves as a label with the right numbers or as a loss with its reason."""

import numpy as np
import pytest

from aiida_argonaut.dft_inputs.protocol import load_protocol, plane_waves
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.units import GPA


@pytest.fixture
def collected(settings, pw_label):
    """collect() on one configuration whose label ended like this."""

    def collect_one(configuration, how=None, calculations=((0, {}),), **changes):
        from aiida_argonaut.workflows.pw_failures import last_calculation
        from aiida_argonaut.workflows.pw_results import collect

        calculation = last_calculation(pw_label(how, calculations))
        left = [] if calculation is None else [link.node for link in calculation.base.links.get_outgoing()]
        results = {"label_000": left[0]} if left else {}
        frames, losses = collect([configuration], {**settings, **changes}, results)
        assert losses["submitted"] == losses["ok"] + len(losses["rescued"]) + len(losses["lost"]) == 1
        assert losses["ok"] == (len(frames) if how is None else 0)
        assert all(entry["rung"] == calculation.label for entry in losses["rescued"])
        return frames, losses["lost"]

    return collect_one


def test_a_label_has_the_numbers_of_pw_in_our_units_and_sign(collected, configurations, settings):
    forces = [[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]]
    printed = np.array([[10.0, 1.0, 2.0], [1.0, 20.0, 3.0], [2.0, 3.0, 30.0]])
    (frame,), lost = collected(
        configurations[0], None, ((0, {"energy": -123.456, "forces": forces, "stress": printed}),)
    )
    assert not lost
    assert frame.energy == -123.456
    np.testing.assert_array_equal(frame.forces, forces)
    # pw.x prints a positive stress where the cell wants to expand, ASE a negative one
    np.testing.assert_allclose(frame.stress, -printed * GPA, rtol=1e-6)
    assert frame.protocol_hash == settings["protocol_hash"]
    assert frame.configuration.configuration_id == configurations[0].configuration_id


@pytest.mark.parametrize("changes", [{}, {"nbnd": 20}, {"starting_magnetization": {"H": 0.8}}])
def test_a_rescued_label_says_by_what(changes, collected, configurations):
    frames, _ = collected(configurations[0], 0, ((410,), (0, {"occupations": [2.0, 0.0]}, changes)))
    assert len(frames) == 1


@pytest.mark.parametrize("energy", [-50.0, 100.0])
def test_an_energy_far_from_all_physics_is_a_loss(energy, collected, configurations):
    _, (loss,) = collected(configurations[0], None, ((0, {"energy": energy}),), atom_energies={"Li": 5.0, "H": 1.0})
    assert loss["reason"] == "energy_cap"
    assert loss["figures"]["energy_per_atom_eV"] == (energy - 6.0) / 2


def test_a_label_set_aside_keeps_its_figures(collected, configurations):
    _, (loss,) = collected(configurations[0], None, ((0, {"forces": [[100.0, 0, 0], [-100.0, 0, 0]]}),))
    assert loss["figures"]["max_force_eV_per_A"] == 100.0
    assert loss["figures"]["energy_eV"] == -100.0


def test_no_stress_where_the_protocol_asks_for_none(collected, configurations, settings):
    (frame,), _ = collected(configurations[0], request={**settings["request"], "stress": False})
    assert frame.stress is None


OUTCOMES = {
    "scf_not_converged": (400, ((410, {}),)),
    "bands_not_converged": (400, ((461, {}),)),
    "bands_run_out": (None, ((0, {"occupations": [2.0, 2.0, 0.4]}),)),
    "not_nominal": (0, ((410,), (0, {}, {"degauss": 0.1}))),
    "cholesky": (300, ((462, {}),)),
    "out_of_walltime": (400, ((400, {}),)),
    "output_incomplete": (400, ((312, {}),)),
    "pw_exit_340": (400, ((340, {}),)),
    "output_missing": (None, ((0, {"leave_out": ("output_trajectory",)}),)),
    "infrastructure": (201, ()),
    "not_accepted": (300, ((0, {}),)),
    "other_version": (None, ((0, {"version": "7.4"}),)),
    "force_cap": (None, ((0, {"forces": [[100.0, 0, 0], [-100.0, 0, 0]]}),)),
    "pressure_cap": (None, ((0, {"stress": 900 * np.eye(3)}),)),
    "label_incomplete": (None, ((0, {"forces": np.full((2, 3), np.nan)}),)),
}


@pytest.mark.parametrize("reason", OUTCOMES)
def test_what_pw_could_not_do_is_a_loss_with_its_reason(reason, collected, configurations):
    frames, lost = collected(configurations[0], *OUTCOMES[reason])
    assert not frames
    assert lost[0]["reason"] == reason
    assert lost[0]["message"]
    assert lost[0]["formula"] == "HLi"
    assert lost[0]["source"] == "packing"
    assert lost[0]["configuration_id"] == configurations[0].configuration_id


@pytest.mark.parametrize("version", ["6.70", "7.6.7", "", None])
def test_a_similar_version_is_another_version(version, collected, configurations):
    _, lost = collected(configurations[0], None, ((0, {"version": version}),))
    assert lost[0]["reason"] == "other_version"


def test_an_energy_that_is_missing_is_a_loss(collected, configurations):
    _, lost = collected(configurations[0], None, ((0, {"energy": None}),))
    assert lost[0]["reason"] == "label_incomplete"


def test_the_wrong_number_of_forces_is_a_loss(collected, configurations):
    _, lost = collected(configurations[0], None, ((0, {"n_atoms": 3}),))
    assert lost[0]["reason"] == "label_incomplete"


REFUSED = {
    "not_periodic": Configuration([1, 1], [[0, 0, 0], [0, 0, 0.8]], np.zeros((3, 3)), (False,) * 3),
    "atoms_too_close": Configuration([3, 1], [[0, 0, 0], [0, 0, 0.3]], 4 * np.eye(3)),
    "no_pseudopotential": Configuration([26], [[0, 0, 0]], 3 * np.eye(3)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_pw_is_never_asked_is_a_loss_too(reason, profile, settings):
    from aiida_argonaut.workflows.pw_results import collect, pw_inputs

    prepared = pw_inputs([REFUSED[reason]], settings)
    assert prepared["structures"] == prepared["kpoints"] == prepared["parameters"] == {}
    frames, losses = collect([REFUSED[reason]], settings, {})
    assert (frames, losses["submitted"], losses["ok"]) == ([], 1, 0)
    assert losses["lost"][0]["reason"] == reason


def test_a_shard_in_which_some_are_lost_adds_up(profile, settings, configurations, pw_label):
    from aiida_argonaut.workflows.pw_failures import last_calculation
    from aiida_argonaut.workflows.pw_results import collect, pw_inputs

    shard = [*configurations, *REFUSED.values()]
    prepared = pw_inputs(shard, settings)
    assert sorted(prepared["structures"]) == [f"label_{index:03d}" for index in range(4)]
    results = {}
    for index, status in enumerate((0, 410, 0, 462)):
        calculation = last_calculation(pw_label(None, ((status, {"energy": -float(index)}),)))
        results[f"label_{index:03d}"] = calculation.outputs.output_parameters
    frames, losses = collect(shard, settings, results)
    assert (losses["submitted"], losses["ok"], len(losses["lost"])) == (7, 2, 5)
    assert [frame.energy for frame in frames] == [0.0, -2.0]
    assert [frame.configuration for frame in frames] == [configurations[0], configurations[2]]
    assert [loss["reason"] for loss in losses["lost"]] == ["scf_not_converged", "cholesky", *REFUSED]


def test_pw_is_asked_what_the_configuration_is(profile, settings, configurations):
    from aiida_argonaut.workflows.pw_results import pw_inputs

    prepared = pw_inputs(configurations, settings)
    for index, configuration in enumerate(configurations):
        atoms = prepared["structures"][f"label_{index:03d}"].get_ase()
        np.testing.assert_array_equal(atoms.numbers, configuration.numbers)
        np.testing.assert_allclose(atoms.positions, configuration.positions, atol=1e-8)
        np.testing.assert_allclose(atoms.cell, configuration.cell, atol=1e-8)
        parameters = prepared["parameters"][prepared["asked"][f"label_{index:03d}"]["parameters"]].get_dict()
        assert parameters["SYSTEM"].items() >= plane_waves(load_protocol("fast"), (40.0, 160.0)).items()
        assert parameters["CONTROL"]["tprnfor"] is True
        assert parameters["CONTROL"]["tstress"] is True
