"""Fake finished processes: what the record would hold after pw.x had run, written by hand."""

import stat

import numpy as np
import pytest

from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters

PW = "aiida.calculations:quantumespresso.pw"
RESCUE = "aiida.workflows:argonaut.pw_rescue"
ELEMENTS, CUTOFFS = ["H", "He", "Li", "Be"], (40.0, 160.0)
NOMINAL = pw_parameters(load_protocol("fast"), ELEMENTS, ["H", "H"], CUTOFFS, keep_files=True)
"""What a cell of two atoms is asked."""
OUTPUTS = ("output_parameters", "output_trajectory", "retrieved", "remote_folder")


@pytest.fixture
def settings():
    """Settings of the label stage as a campaign makes them."""
    import dataclasses

    return {
        "labeller": "quantumespresso",
        "request": dataclasses.asdict(load_protocol("fast")),
        "elements": ELEMENTS,
        "cutoffs": list(CUTOFFS),
        "max_iterations": 3,
        "pw_version": "6.7",
        "protocol": {"code": "pw.x 6.7"},
        "protocol_hash": "p" + "0" * 31,
    }


@pytest.fixture
def pw_outputs(profile):
    """Make the four outputs of one pw.x calculation; what is given as None is left out."""
    from aiida import orm

    def made(energy=-100.0, forces=None, stress=None, version="6.7MaX", n_atoms=2, occupations=None, leave_out=()):
        computer = orm.Computer.collection.get_or_create(
            label="localhost", hostname="localhost", transport_type="core.local", scheduler_type="core.direct"
        )[1]
        trajectory = orm.ArrayData()
        trajectory.set_array("forces", np.array([np.zeros((n_atoms, 3)) if forces is None else forces]))
        trajectory.set_array("stress", np.array([np.zeros((3, 3)) if stress is None else stress]))
        nodes = {
            "output_parameters": orm.Dict({"energy": energy, "creator_version": version}),
            "output_trajectory": trajectory,
            "retrieved": orm.FolderData(),
            "remote_folder": orm.RemoteData(remote_path="/nowhere", computer=computer.store()),
        }
        if occupations is not None:
            nodes["output_band"] = bands = orm.BandsData()
            bands.set_kpoints([[0.0, 0.0, 0.0]])
            bands.set_bands(np.arange(len(occupations), dtype=float)[None], occupations=np.array([occupations]))
        return {name: node for name, node in nodes.items() if name not in leave_out}

    return made


@pytest.fixture
def pw_label(profile, pw_outputs):
    """Make a label: a PwCalculation, or a RescuePwWorkChain that ended `how` after several of them.

    Each is (exit status or state, outputs, changes of SYSTEM); the last two may be left out. `asked` are the namelists.
    """
    from aiida import orm
    from aiida.common.links import LinkType

    def ended(node, how):
        node.set_process_label("PwCalculation" if node.process_type == PW else "RescuePwWorkChain")
        if isinstance(how, str):
            node.set_process_state(how)
        else:
            node.set_process_state("finished")
            node.set_exit_status(how)
        return node

    def calculated(namelists, chain, number, status, keywords=(), system=()):
        calculation = ended(orm.CalcJobNode(process_type=PW), status)
        calculation.label = f"rung_{number}"
        asked = orm.Dict({**namelists, "SYSTEM": {**namelists["SYSTEM"], **dict(system)}}).store()
        calculation.base.links.add_incoming(asked, LinkType.INPUT_CALC, "parameters")
        if chain is not None:
            calculation.base.links.add_incoming(chain, LinkType.CALL_CALC, f"iteration_{number:02d}")
        calculation.store()
        for name, node in pw_outputs(**dict(keywords)).items():
            node.base.links.add_incoming(calculation, LinkType.CREATE, name)
            node.store()
        calculation.seal()
        return calculation

    def made(how=0, calculations=((0, {}),), asked=NOMINAL):
        if how is None:
            return calculated(asked, None, 1, *calculations[0])
        chain = ended(orm.WorkChainNode(process_type=RESCUE), how)
        chain.base.links.add_incoming(orm.Dict(asked).store(), LinkType.INPUT_WORK, "pw__parameters")
        chain.store()
        for number, each in enumerate(calculations, 1):
            calculated(asked, chain, number, *each)
        chain.seal()
        return chain

    return made


@pytest.fixture
def scripted_code(profile, tmp_path):
    """scripted_code(text): the compute command replaced by a script, on a computer without a queue."""
    from aiida import orm

    def coded(text):
        script = tmp_path / "argonaut"
        script.write_text(text)
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        computer = orm.Computer(
            label="localhost", hostname="localhost", transport_type="core.local", scheduler_type="core.direct",
            workdir=str(tmp_path / "work"),
        ).store()  # fmt: skip
        computer.configure(safe_interval=0)
        computer.set_minimum_job_poll_interval(0)
        return orm.InstalledCode(label="argonaut", computer=computer, filepath_executable=str(script)).store()

    return coded
