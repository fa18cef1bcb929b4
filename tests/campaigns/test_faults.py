"""What a machine does on a bad day to pw.x: each fault has its reason, and the label beside it is none the worse."""

import json
import shutil

import ase
import ase.io
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(900)]

BAD_DAY = """#!/bin/bash
if grep -q '^Be ' aiida.in; then      # killed
    {pw} "$@" & sleep 0.2; kill -9 $!; wait $!
elif grep -q '^He ' aiida.in; then    # garbage
    head -c 20000 /dev/urandom
elif grep -q '^Li ' aiida.in; then    # no room for its files
    ulimit -f 4; {pw} "$@"
elif grep -q '^N ' aiida.in; then     # not pw.x at all
    true
else
    exec {pw} "$@"
fi
"""
CELLS = {"Be2": 3.0, "He2": 3.2, "Li2": 4.0, "N2": 3.0, "H2": 2.2}
EXPECTED = {
    "Be2": ("output_incomplete", "305"),
    "He2": ("infrastructure", "UnicodeDecodeError"),
    "Li2": ("output_incomplete", "305"),
    "N2": ("output_incomplete", "305"),
}


@pytest.fixture(scope="module")
def account(deployment):
    """The account of five labels, four of which have a bad day."""
    script = deployment.folder / "pw-on-a-bad-day"
    script.write_text(BAD_DAY.format(pw=shutil.which("pw.x")))
    script.chmod(0o755)
    deployment.run(
        *("verdi", "code", "create", "core.code.installed", "-n", "-L", "bad_day", "-Y", "localhost"),
        *("-X", script, "-P", "quantumespresso.pw"),
    )
    frames = [
        ase.Atoms(symbols, [[0, 0, 0], [edge / 2, 0.45 * edge, edge / 2]], cell=3 * [edge], pbc=True)
        for symbols, edge in CELLS.items()
    ]
    ase.io.write(deployment.folder / "five.extxyz", frames)
    words = ("--code", "bad_day@localhost", "--pw-version", "6.7", "--protocol", "fast", "--max-jobs", 3)
    deployment.run("argonaut", "label", "five.extxyz", "-o", "bad.extxyz", *words, exit_code=1)
    return json.loads((deployment.folder / "bad.losses.json").read_text())


def test_every_fault_has_its_reason(account):
    assert account["submitted"] == 5
    found = {loss["formula"]: (loss["reason"], loss["message"]) for loss in account["lost"]}
    assert found.keys() == EXPECTED.keys()
    for formula, (reason, words) in EXPECTED.items():
        assert found[formula][0] == reason
        assert words in found[formula][1]


def test_the_others_are_unharmed(deployment, account):
    assert (account["ok"], account["rescued"]) == (1, [])
    (frame,) = ase.io.read(deployment.folder / "bad.extxyz", ":")
    assert frame.get_chemical_formula() == "H2"
    assert abs(frame.get_potential_energy()) > 20


def test_the_machine_was_given_three_chances(record, account):
    from aiida import orm

    from aiida_argonaut.provenance_db.queries import descendants

    jobs = [
        node
        for node in descendants(orm.load_node(account["work_chain"]["uuid"]))
        if node.process_label == "PwCalculation"
    ]
    assert len(jobs) == 3 * len(EXPECTED) + 1
    assert sorted(node.base.caching.is_valid_cache for node in jobs) == [False] * 12 + [True]
