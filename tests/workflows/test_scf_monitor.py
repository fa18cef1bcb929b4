"""A pw.x that will never be self-consistent is stopped, and one that will be is left alone: both real."""

import shutil

import numpy as np
import pytest

pytestmark = [pytest.mark.dft, pytest.mark.timeout(300)]


@pytest.fixture
def monitored(profile, tmp_path):
    """Run H2 with our monitor looking every second; the finished calculation."""
    if shutil.which("pw.x") is None:
        pytest.skip("pw.x is not on PATH; `make test` installs it")
    from aiida import orm
    from aiida.engine import run_get_node
    from aiida.plugins import CalculationFactory, DataFactory

    from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
    from aiida_argonaut.dft_inputs.pseudos.build import build_family
    from aiida_argonaut.workflows.scf_monitor import MONITOR

    family = build_family(tmp_path / "pseudos", ["H"])
    computer = orm.Computer(
        label="here", hostname="localhost", transport_type="core.local", scheduler_type="core.direct",
        workdir=str(tmp_path / "work"),
    ).store()  # fmt: skip
    computer.configure(safe_interval=0)
    computer.set_minimum_job_poll_interval(1)
    code = orm.InstalledCode(
        label="pw", computer=computer, filepath_executable=shutil.which("pw.x"),
        default_calc_job_plugin="quantumespresso.pw",
    ).store()  # fmt: skip
    structure = orm.StructureData(cell=6 * np.eye(3))
    for z in (2.6, 3.4):
        structure.append_atom(symbols="H", position=(3.0, 3.0, z))
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([2, 2, 2])

    def ran(**electrons):
        parameters = pw_parameters(load_protocol("fast"), ["H"], ["H", "H"], (35, 175), keep_files=True)
        parameters["ELECTRONS"] |= electrons
        options = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "withmpi": False}
        return run_get_node(
            CalculationFactory("quantumespresso.pw"), code=code, structure=structure, kpoints=kpoints,
            pseudos={"H": DataFactory("pseudo.upf").get_or_create(family["H"])}, parameters=orm.Dict(parameters),
            monitors={"scf": orm.Dict({**MONITOR, "minimum_poll_interval": 1})}, metadata={"options": options},
        ).node  # fmt: skip

    return ran


def test_a_stuck_run_is_stopped(monitored):
    """A threshold below what floating point can reach: the accuracy falls to its floor and stays there."""
    from aiida_argonaut.dft_inputs.scf import accuracies
    from aiida_argonaut.workflows.pw_failures import STOPPED_BY_MONITOR, chemistry_failure, stdout_of

    node = monitored(conv_thr=1e-30, electron_maxstep=100000)
    assert node.exit_status == STOPPED_BY_MONITOR
    assert node.exit_message.startswith("Job appears stuck: accuracy has not improved")
    assert "decades per step, 1.0e-30 Ry wanted within 100000" in node.exit_message
    assert 25 <= len(accuracies(stdout_of(node))) < 100000
    assert "150" in chemistry_failure(node)


def test_a_run_that_converges_is_left_alone(monitored):
    assert monitored().exit_status == 0
