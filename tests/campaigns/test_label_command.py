"""`argonaut label` as a user runs it, with a real daemon and the real pw.x: interrupted, collected, and run again."""

import json
import re
import signal
import subprocess

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(900)]

PROTOCOL = "stringency: fast\nwavefunction_cutoff: 25\ndensity_cutoff: 125\nkpoints_spacing: 2.0\n"
GIVEN = ["cells.extxyz#0", "cells.extxyz#1", "cells.extxyz#2", "helium/POSCAR#0"]
CLOSE = "cells.extxyz#1"


@pytest.fixture(scope="module")
def folder(deployment):
    """A folder with H2, two hydrogen atoms that are too close, and H-He in one file, He2 in another."""
    import ase
    import ase.io

    made = deployment.folder / "label"
    (made / "helium").mkdir(parents=True)

    def pair(symbols, distance):
        return ase.Atoms(symbols, [[0, 0, 0], [distance, 0.1, 0.2]], cell=[2.6, 2.7, 2.8], pbc=True)

    ase.io.write(made / "cells.extxyz", [pair("H2", 0.8), pair("H2", 0.1), pair("HHe", 1.2)])
    ase.io.write(made / "helium" / "POSCAR", pair("He2", 1.3))
    (made / "tiny.yaml").write_text(PROTOCOL)
    return made


@pytest.fixture(scope="module")
def label(deployment, folder):
    """Run `argonaut label` in the folder."""

    def ran(*words, exit_code=0):
        return deployment.run("argonaut", "label", *words, folder=folder, exit_code=exit_code)

    return ran


@pytest.fixture(scope="module")
def interrupted(deployment, folder):
    """pk of a work chain that was submitted by a command which Ctrl-C ended at once, and what the command said."""
    command = ["argonaut", "label", "cells.extxyz", "helium/POSCAR", "--protocol", "tiny.yaml", "-o", "labels.extxyz"]
    with subprocess.Popen(
        command, cwd=folder, env=deployment.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    ) as running:  # fmt: skip
        first = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=600)
    assert running.returncode == 130, stderr
    assert stdout == ""
    return int(re.match(r"work chain (\d+) is at work", first)[1]), stderr


@pytest.fixture(scope="module")
def collected(label, folder, interrupted):
    """What the second command said, and the account that it wrote."""
    said = label("--pk", interrupted[0], "-o", "labels.extxyz", exit_code=1).stdout
    return said, json.loads((folder / "labels.losses.json").read_text())


def test_an_interrupt_ends_the_following_and_says_how_to_go_on(folder, interrupted):
    pk, stderr = interrupted
    assert f"work chain {pk} goes on without you" in stderr
    assert f"--pk {pk} -o labels.extxyz" in stderr
    assert "Traceback" not in stderr


def test_every_structure_is_accounted_for(collected, interrupted):
    said, account = collected
    assert "4 submitted = 3 ok + 0 rescued + 1 lost" in said
    assert account["work_chain"]["pk"] == interrupted[0]
    assert account["submitted"] == account["ok"] + len(account["rescued"]) + len(account["lost"]) == 4
    (loss,) = account["lost"]
    assert (loss["reason"], loss["source"], loss["given"]) == ("atoms_too_close", "user", [CLOSE])
    assert f"lost {CLOSE} H2 (user): atoms_too_close" in said


def test_labels_are_those_of_pw_in_the_order_given(folder, record, collected, interrupted):
    import ase.io
    from aiida import orm

    from aiida_argonaut.mlip.dataset import Dataset
    from aiida_argonaut.provenance_db.queries import descendants

    node, (_, account) = orm.load_node(interrupted[0]), collected
    frames = ase.io.read(folder / "labels.extxyz", ":")
    assert [atoms.info["given"] for atoms in frames] == [place for place in GIVEN if place != CLOSE]
    assert [atoms.get_chemical_formula() for atoms in frames] == ["H2", "HHe", "He2"]
    jobs = [child for child in descendants(node) if child.process_label == "PwCalculation"]
    energies = sorted(round(job.outputs.output_parameters["energy"], 6) for job in jobs if job.is_finished_ok)
    assert sorted(round(atoms.get_potential_energy(), 6) for atoms in frames) == energies
    for atoms in frames:
        binding = atoms.get_potential_energy() - sum(account["reference_energies"][s] for s in atoms.symbols)
        assert abs(binding) / len(atoms) < 25.0
        assert np.abs(atoms.get_forces().sum(axis=0)).max() < 0.05
        assert atoms.get_stress().shape == (6,)
    dataset = Dataset.load(folder / "labels.extxyz")
    assert dataset.protocol_hash == account["protocol_hash"] == node.outputs.labels.dataset().protocol_hash
    assert dataset.content_hash == node.outputs.labels.content_hash


def test_the_protocol_was_told_beforehand(label, collected, record):
    told = json.loads(label("cells.extxyz", "helium/POSCAR", "--protocol", "tiny.yaml", "--dry-run", "--json").stdout)
    _, account = collected
    assert told["protocol_hash"] == account["protocol_hash"]
    assert told["protocol"] == account["protocol"]
    assert told["made_by"]["cutoffs_Ry"] == [25.0, 125.0]
    assert (told["labels"], [loss["given"] for loss in told["refused"]]) == (3, [CLOSE])
    assert told["price"]["core_hours"]["expected"] > 0


def test_the_same_again_is_taken_from_the_cache(label, folder, record, collected):
    """The good ones alone: exit code 0, the same labels, and nothing computed twice."""
    import ase.io
    from aiida import orm

    from aiida_argonaut.mlip.dataset import Dataset
    from aiida_argonaut.provenance_db.queries import descendants

    first, _, third = ase.io.read(folder / "cells.extxyz", ":")
    ase.io.write(folder / "good.extxyz", [first, third, first])
    words = ("good.extxyz", "helium/POSCAR", "--protocol", "tiny.yaml", "--max-jobs", 3, "-o", "again.extxyz")
    account = json.loads(label(*words, "--json").stdout)
    assert (account["submitted"], account["ok"], account["lost"]) == (3, 3, [])
    assert account["given_more_than_once"] == [["good.extxyz#0", "good.extxyz#2"]]
    jobs = [
        child
        for child in descendants(orm.load_node(account["work_chain"]["pk"]))
        if child.process_label == "PwCalculation"
    ]
    assert len(jobs) == 3
    assert all(job.base.caching.is_created_from_cache for job in jobs)
    assert Dataset.load(folder / "again.extxyz").content_hash == Dataset.load(folder / "labels.extxyz").content_hash


def test_a_molecule_in_a_box(label, folder):
    """Without a box it is a loss, and the only one is a refusal; with one it is a label."""
    (folder / "atom.xyz").write_text("1\n\nHe 0 0 0\n")
    words = ("atom.xyz", "--protocol", "tiny.yaml", "-o", "atom.extxyz")
    assert "--box" in label(*words, exit_code=2).stderr
    assert not list(folder.glob("atom.extxyz"))
    assert "1 submitted = 1 ok" in label(*words, "--box", 4).stdout
    import ase.io

    atoms = ase.io.read(folder / "atom.extxyz")
    assert all(atoms.pbc)
    np.testing.assert_allclose(np.diag(atoms.cell), 4.0)
