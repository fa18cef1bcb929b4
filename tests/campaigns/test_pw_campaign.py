"""A real campaign with pw.x, small enough for every test run: labels, losses, references, and at most W in flight."""

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(1500)]

CAMPAIGN = """\
seed: 3
generate:
  recipe:
    source: packing
    elements: [H, He, Li, Be]
    atoms: [2, 3]
    packing_fraction: [0.3, 0.6]
    maximum_volume_per_atom: 12.0
  seed_set: 4
  starts: 4
label:
  protocol: fast
  overrides: {wavefunction_cutoff: 25.0, density_cutoff: 125.0, kpoints_spacing: 2.0}
  max_jobs: 2
train: {steps: 30, members: 2}
explore: {dataset_starts: 1, steps: 20, min_steps: 10, temperature_K: 300.0}
select: {count: 2, random_fraction: 0.5}
stop: {iterations: 1}
"""


@pytest.fixture(scope="module")
def campaign(deployment):
    """The campaign, finished: (pk, summary)."""
    path = deployment.folder / "pw.yaml"
    path.write_text(CAMPAIGN)
    pk = deployment.finish(path)
    return pk, deployment.status(pk)


def test_labels_come_from_pw_and_add_up(campaign, record):
    from aiida import orm

    pk, summary = campaign
    assert summary["exit_status"] == 0
    assert [i["labels"]["submitted"] for i in summary["iterations"]] == [4, 2]
    for iteration in summary["iterations"]:
        assert iteration["labels"]["submitted"] == iteration["labels"]["ok"] + len(iteration["labels"]["lost"])
    dataset = orm.load_node(summary["iterations"][-1]["dataset"]["pk"]).dataset()
    assert dataset.protocol["code"].startswith("pw.x")
    assert set(dataset.protocol["pseudopotentials"]) == {"H", "He", "Li", "Be"}
    assert {frame.protocol_hash for frame in dataset.frames} == {dataset.protocol_hash}
    for frame in dataset.frames:
        assert np.abs(frame.forces.sum(axis=0)).max() < 0.02
        assert frame.stress is not None


def test_label_equals_the_pw_output_it_came_from(campaign, record):
    from aiida import orm

    pk, summary = campaign
    frames = {
        f.configuration.configuration_id: f for f in orm.load_node(summary["outputs"]["dataset"]).dataset().frames
    }
    label = orm.load_node(pk).called[1].base.links.get_outgoing(link_label_filter="label").one().node
    shard = label.called[0]
    configurations = shard.inputs.configurations.configurations()
    checked = 0
    for link in shard.base.links.get_outgoing(link_label_filter="label_%").all():
        frame = frames.get(configurations[int(link.link_label.split("_")[1])].configuration_id)
        if frame is None:
            continue
        text = link.node.called[-1].outputs.retrieved.base.repository.get_object_content("aiida.out")
        energy = float(next(line for line in text.splitlines() if line.startswith("!")).split()[-2])
        assert frame.energy == pytest.approx(energy * 13.605693, abs=1e-4)
        checked += 1
    assert checked > 0


def test_never_more_than_two_labels_in_flight(campaign, record):
    from aiida import orm

    pk, _ = campaign
    nodes = [node for node in _descendants(orm.load_node(pk)) if node.process_label == "PwBaseWorkChain"]
    assert len(nodes) >= 6
    for node in nodes:
        assert sum(other.ctime <= node.ctime < other.mtime for other in nodes) <= 2


def _descendants(node):
    for child in node.called:
        yield child
        yield from _descendants(child)


def test_reference_energies_are_those_of_pw_atoms(campaign, record, deployment):
    """The header's energy of helium is what pw.x gives for a helium atom in a box; the family check does it."""
    from aiida import orm

    pk, _ = campaign
    table = orm.load_node(pk).outputs.reference_energies.get_dict()
    assert set(table) == {"H", "He", "Li", "Be"}
    family = deployment.folder / "pseudos"
    deployment.run("argonaut", "pseudos", "build", "-o", family, "--elements", "H,He")
    said = deployment.run("argonaut", "pseudos", "check", family, "--elements", "H,He").stdout
    assert "He" in said
    assert -14.5 < table["H"] < -11.0
    assert -81.0 < table["He"] < -75.0


def test_audit_is_clean(deployment, campaign):
    pk, _ = campaign
    assert "0 inputs without provenance" in deployment.run("argonaut", "audit", pk).stdout


def test_labels_that_fail_are_counted_with_their_reason(deployment, tmp_path):
    """electron_maxstep: 1 converges nothing: every label is lost to chemistry, and the seed iteration says so."""
    path = tmp_path / "hopeless.yaml"
    broken = CAMPAIGN.replace(
        "kpoints_spacing: 2.0}", "kpoints_spacing: 2.0, electron_maxstep: 1}\n  max_iterations: 1"
    )
    path.write_text(broken.replace("seed_set: 4", "seed_set: 2"))
    pk = deployment.finish(path, exit_code=1)
    summary = deployment.status(pk, exit_code=1)
    assert summary["exit_status"] == 401
    labels = summary["iterations"][0]["labels"]
    assert labels["ok"] == 0
    assert labels["reasons"] == {"scf_not_converged": 2}
    assert "scf_not_converged" in deployment.run("argonaut", "status", pk, exit_code=1).stdout


def test_a_lost_label_never_stops_the_campaign(deployment, tmp_path):
    """A force cap that some labels break: they are lost with their reason, the others make the dataset."""
    path = tmp_path / "capped.yaml"
    capped = CAMPAIGN.replace("kpoints_spacing: 2.0}", "kpoints_spacing: 2.0, max_force: MAX}")
    path.write_text(capped.replace("MAX", "2.5").replace("iterations: 1", "iterations: 0"))
    pk = deployment.finish(path)
    labels = deployment.status(pk)["iterations"][0]["labels"]
    assert labels["submitted"] == labels["ok"] + len(labels["lost"])
    assert set(labels["reasons"]) == {"force_cap"}
    assert labels["ok"] > 0
