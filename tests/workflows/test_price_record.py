"""Prices are calibrated on what the record says of the same code, and on nothing else."""

import io
from datetime import UTC, datetime, timedelta

import ase
import numpy as np
import pytest

UPF = '<PP_HEADER pseudo_type="PAW" z_valence="1.0"/><PP_BETA.1 angular_momentum="0"><PP_BETA.2 angular_momentum="0">'


@pytest.fixture
def code(profile):
    from aiida import orm

    computer = orm.Computer(
        label="localhost", hostname="localhost", transport_type="core.local", scheduler_type="core.direct"
    ).store()
    return orm.InstalledCode(label="code", computer=computer, filepath_executable="/bin/true").store()


@pytest.fixture
def ran(code):
    """Make a job that ended well after some seconds, with inputs and outputs."""
    from aiida import orm
    from aiida.common.links import LinkType

    def made(label, seconds, inputs, outputs=None):
        node = orm.CalcJobNode(computer=code.computer, ctime=datetime.now(UTC) - timedelta(seconds=seconds))
        node.base.attributes.set("resources", {"num_machines": 1, "num_mpiprocs_per_machine": 1})
        node.set_process_label(label)
        node.set_process_state("finished")
        node.set_exit_status(0)
        for port, data in {"code": code, **inputs}.items():
            node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, port)
        node.store()
        for port, data in (outputs or {}).items():
            data.base.links.add_incoming(node, LinkType.CREATE, port)
            data.store()
        return node

    return made


@pytest.fixture
def label(ran):
    """Make a label of H2 that took some times what the model says."""
    from aiida import orm

    from aiida_argonaut.dft_inputs.cost import label_core_seconds, label_size, pseudo_size

    def made(factor, mesh=(2, 2, 2), threshold=2e-8, **lacking):
        atoms = ase.Atoms("H2", positions=[[0, 0, 0], [0.7, 0, 0]], cell=3 * np.eye(3), pbc=True)
        size = label_size(atoms.cell.array, ["H", "H"], {"H": pseudo_size(UPF)}, (30, 120), mesh, False, threshold / 2)
        seconds = factor * label_core_seconds(size)
        inputs = {
            "structure": orm.StructureData(ase=atoms),
            "parameters": orm.Dict({"SYSTEM": {"ecutwfc": 30, "ecutrho": 120}, "ELECTRONS": {"conv_thr": threshold}}),
            "pseudos__H": orm.SinglefileData(io.BytesIO(UPF.encode()), filename="H.upf"),
        }
        told = {"wall_time_seconds": seconds, "monkhorst_pack_grid": list(mesh), **lacking}
        return ran("PwCalculation", 3 * seconds, inputs, {"output_parameters": orm.Dict(told)})

    return made


def test_ratios_are_measured_over_modelled(code, label):
    from aiida_argonaut.workflows.price_record import calibration, pw_ratios

    factors = [0.5, 1.0, 2.0, 2.5, 4.0]
    for factor, mesh in zip(factors, [(1, 1, 1), (2, 2, 2), (3, 1, 2), (4, 4, 4), (2, 2, 1)], strict=True):
        label(factor, mesh)
    assert sorted(pw_ratios(code)) == pytest.approx(factors)
    assert calibration(pw_ratios(code)).middle == pytest.approx(2.0)


def test_a_label_that_does_not_say_enough_is_left_out(code, label):
    from aiida_argonaut.workflows.price_record import pw_ratios

    label(1.0)
    label(1.0, monkhorst_pack_grid=None)
    assert pw_ratios(code) == pytest.approx([1.0])


def test_rates_of_training_are_those_of_the_same_kind_and_of_more_than_a_start(code, ran):
    from aiida import orm

    from aiida_argonaut.workflows.price_record import training_rates

    def trained(seconds, steps, architecture="teanet"):
        settings = {"architecture": architecture, "preset": "campaign", "members": 1, "config": {"steps": steps}}
        ran("TrainCalculation", seconds, {"settings": orm.Dict(settings)})

    trained(52.0, 500)
    trained(10.0, 1)
    trained(52.0, 500, "another")
    assert training_rates(code, "teanet", "campaign", 2.0) == pytest.approx([0.1], abs=0.01)


def test_rates_of_exploration_count_the_steps_that_were_done(code, ran):
    from aiida import orm

    from aiida_argonaut.workflows.price_record import exploration_rates

    trajectories = orm.Dict({"trajectories": [{"steps": 200}, {"steps": 100}]})
    ran("ExploreCalculation", 32.0, {"settings": orm.Dict({"config": {"steps": 200}})}, {"trajectories": trajectories})
    rates, shares = exploration_rates(code, 2.0)
    assert rates == pytest.approx([0.1], abs=0.01)
    assert shares == [0.75]


def test_lost_labels_are_counted_once_and_only_if_they_were_tried(profile, configurations, tmp_path):
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.workflows.data import ConfigurationsData
    from aiida_argonaut.workflows.price_record import losses

    def labelled(given, protocol_hash, submitted, reasons):
        node = orm.WorkChainNode()
        node.set_process_label("LabelWorkChain")
        node.base.links.add_incoming(
            orm.Dict({"protocol_hash": protocol_hash}).store(), LinkType.INPUT_WORK, "settings"
        )
        node.base.links.add_incoming(given, LinkType.INPUT_WORK, "configurations")
        node.store()
        account = {"submitted": submitted, "ok": submitted - len(reasons), "lost": [{"reason": r} for r in reasons]}
        orm.Dict(account).store().base.links.add_incoming(node, LinkType.RETURN, "losses")

    one, other = (
        ConfigurationsData.from_configurations(some, tmp_path).store() for some in (configurations, configurations[:2])
    )
    for _ in range(2):
        labelled(one, "p1", 4, ["force_cap", "not_submitted"])
    labelled(other, "p1", 2, [])
    labelled(other, "p2", 2, ["force_cap"])
    assert losses("p1") == (1, 5)
    assert losses("p2") == (1, 2)
    assert losses("p3") == (0, 0)
