"""Labels whose first calculation fails are rescued, by a real pw.x: the account says so, and the protocol holds."""

import json

import ase
import ase.io
import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(900)]

STEPS = 4
"""Of self-consistency: too few for most cells."""


@pytest.fixture(scope="module")
def rescued(deployment):
    """`argonaut label` with too few steps: what it said, and its account."""
    frames = [
        ase.Atoms(symbols, [[0, 0, 0], [edge / 2, 0.45 * edge, edge / 2]], cell=3 * [edge], pbc=True)
        for symbols, edge in (("LiH", 3.0), ("He2", 3.2), ("BeH", 2.8))
    ]
    ase.io.write(deployment.folder / "few.extxyz", frames)
    words = ("--protocol", "fast", "--set", f"electron_maxstep={STEPS}", "--set", "kpoints_spacing=1.5")
    said = deployment.run("argonaut", "label", "few.extxyz", "-o", "few-labels.extxyz", *words).stdout
    account = json.loads((deployment.folder / "few-labels.losses.json").read_text())
    return said, account


def test_the_account_adds_up_and_names_the_rungs(rescued):
    said, account = rescued
    assert account["submitted"] == account["ok"] + len(account["rescued"]) + len(account["lost"]) == 3
    assert not account["lost"]
    assert {entry["rung"] for entry in account["rescued"]} <= {"more_steps", "local_tf"}
    assert len(account["rescued"]) >= 2
    for rows in (account["sources"], account["elements"]):
        assert all(submitted == ok + saved + lost for submitted, ok, saved, lost in rows.values())
    assert f"3 submitted = {account['ok']} ok + {len(account['rescued'])} rescued + 0 lost" in said


def test_a_rescued_label_is_that_of_an_easy_run(deployment, rescued):
    """The same cells with steps enough: the numbers are the same up to the threshold."""
    words = ("--protocol", "fast", "--set", "kpoints_spacing=1.5")
    deployment.run("argonaut", "label", "few.extxyz", "-o", "easy.extxyz", *words)
    easy, hard = (ase.io.read(deployment.folder / name, ":") for name in ("easy.extxyz", "few-labels.extxyz"))
    assert len(easy) == len(hard) == 3
    for one, other in zip(easy, hard, strict=True):
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=5e-3)
    assert json.loads((deployment.folder / "easy.losses.json").read_text())["ok"] == 3


def test_each_remedy_is_on_record(record, rescued):
    """The failed calculation is the input of its rescue, and every parameter that differs is one that may."""
    from aiida import orm

    from aiida_argonaut.provenance_db.orphans import find_orphans
    from aiida_argonaut.provenance_db.queries import descendants

    _, account = rescued
    chain = orm.load_node(account["work_chain"]["uuid"])
    rescues = [node for node in descendants(chain) if node.process_label == "RescuePwWorkChain"]
    assert len(rescues) == len(account["rescued"])
    for rescue in rescues:
        first = rescue.inputs.failed.creator
        assert first.exit_status == 410
        assert first.caller == rescue.caller
        (second,) = rescue.called
        assert second.label in {"more_steps", "local_tf"}
        assert ("parent_folder" in second.inputs) == (second.label == "more_steps")
    assert find_orphans(chain) == []
