"""A real campaign with the `ase` labeller, by the commands that a user types: what it leaves and what it says."""

import re

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CAMPAIGN = """\
seed: 5
generate:
  recipe: {source: packing, elements: [H, C, O, Si], atoms: [2, 4]}
  seed_set: 6
  starts: 6
label:
  labeller: ase
  calculator: ase.calculators.lj:LennardJones
  parameters: {sigma: 1.2, epsilon: 0.3, rc: 5.0}
  shard_size: 4
train: {steps: 40, members: 2}
explore: {dataset_starts: 2, steps: 30, min_steps: 10, temperature_K: 300.0}
select: {count: 4, random_fraction: 0.25}
stop: {iterations: 1}
"""


@pytest.fixture(scope="module")
def campaign(deployment):
    """The campaign, finished: (pk, summary)."""
    path = deployment.folder / "lennard-jones.yaml"
    path.write_text(CAMPAIGN)
    pk = deployment.finish(path)
    return pk, deployment.status(pk)


def test_launch_names_commands_that_work_in_a_new_shell(deployment, campaign):
    path = deployment.folder / "lennard-jones.yaml"
    lines = [line.strip() for line in deployment.run("argonaut", "launch", path).stdout.splitlines()]
    pk = int(re.match(r"campaign (\d+) is running", lines[0])[1])
    deployment.run("argonaut", "follow", pk)
    script = "\n".join([line for line in lines[1:] if " follow " not in line])
    shown = deployment.run("env", "-i", "HOME=/nonexistent", "bash", "-euc", script).stdout
    assert f"CampaignWorkChain<{pk}> Finished [0]" in shown
    assert "errors" not in shown.lower() or "RMSE" in shown


def test_status_adds_up(campaign):
    _, summary = campaign
    assert summary["state"] == "finished"
    assert summary["exit_status"] == 0
    seed, first = summary["iterations"]
    for iteration in (seed, first):
        labels = iteration["labels"]
        assert labels["submitted"] == labels["ok"] + len(labels["lost"])
        assert iteration["committee"]["n_members"] == 2
        assert iteration["errors"]["after"]["forces_rmse_meV_per_A"] > 0
        assert iteration["seconds"]["total"] > 0
    assert seed["dataset"]["n_frames"] == seed["labels"]["ok"] == 6
    assert first["dataset"]["n_frames"] == 6 + first["labels"]["ok"]
    assert "before" not in seed["errors"]
    assert first["errors"]["before"]["forces_rmse_meV_per_A"] > 0
    assert set(first["errors"]["deviation"]["deviation_quantiles"]) >= {"0.5", "0.95"}
    assert sum(first["stop_reasons"].values()) == 8
    arms = first["selection"]["arms"]
    assert arms["deviation"] + arms["random"] == first["labels"]["submitted"]
    assert arms["deviation"] >= arms["random"] > 0


def test_the_story_is_told_in_reports(deployment, campaign):
    pk, _ = campaign
    story = deployment.run("verdi", "process", "report", pk).stdout
    for words in ("a seed set and at most 1 iterations", "labelling 6 configurations", "2 of 2 members trained",
                  "exploring from 8 starts", "verdicts: ", "RMSE on", "all iterations done"):  # fmt: skip
        assert words in story


def test_predictions_are_stored_before_labels_are_asked_for(campaign, record):
    from aiida import orm

    pk, _ = campaign
    label = orm.load_node(pk).called[-1].base.links.get_outgoing(link_label_filter="label").one().node
    candidates = label.inputs.configurations
    frames = candidates.predicted_frames()
    assert all(np.isfinite(frame.prediction.forces).all() for frame in frames)
    assert candidates.creator.process_label == "SelectCalculation"
    assert candidates.ctime < label.ctime


def test_audit_is_clean_and_a_planted_orphan_turns_it_red(deployment, campaign, record):
    from aiida import orm
    from aiida.common.links import LinkType

    pk, _ = campaign
    assert "0 inputs without provenance" in deployment.run("argonaut", "audit", pk).stdout
    planted = orm.CalcFunctionNode()
    planted.process_label = "planted"
    orphan = orm.Int(7).store()
    planted.base.links.add_incoming(orphan, LinkType.INPUT_CALC, "seed")
    iteration = orm.load_node(pk).called[0]
    # a sealed work chain takes no new children; the copy of its graph is a campaign with one child too many
    copy = orm.WorkChainNode()
    copy.process_label = "CampaignWorkChain"
    copy.base.links.add_incoming(orm.load_node(pk).inputs.seed, LinkType.INPUT_WORK, "seed")
    copy.store()
    planted.base.links.add_incoming(copy, LinkType.CALL_CALC, "planted")
    planted.store()
    assert iteration.is_sealed
    said = deployment.run("argonaut", "audit", copy.pk, exit_code=1).stdout
    assert f"Int<{orphan.pk}>" in said


def test_the_committee_leaves_as_files_and_is_a_calculator(deployment, campaign):
    pk, summary = campaign
    committee = summary["iterations"][-1]["committee"]["pk"]
    folder = deployment.folder / f"committee-{pk}"
    deployment.run("verdi", "data", "argonaut.committee", "export", committee, "-o", folder)
    from ase import Atoms

    from aiida_argonaut.mlip.calculator import CommitteeCalculator

    atoms = Atoms("SiO", positions=[[0, 0, 0], [1.7, 0, 0]], cell=[4, 4, 4], pbc=True)
    atoms.calc = CommitteeCalculator(folder)
    assert atoms.get_forces().shape == (2, 3)
    assert atoms.get_stress().shape == (6,)
    assert (atoms.calc.results["force_deviation"] > 0).all()


def test_plot_writes_a_picture(deployment, campaign):
    pk, _ = campaign
    picture = deployment.folder / "fresh.png"
    deployment.run("argonaut", "plot", pk, "-o", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_same_file_gives_the_same_dataset_without_the_cache(deployment, campaign):
    """In another profile nothing can be reused: configurations, label ids and dataset hash come out the same."""
    _, summary = campaign
    profile = ["-p", "again"]
    deployment.run("argonaut", "setup", "--profile", "again")
    deployment.run("verdi", *profile, "daemon", "start", "2")
    try:
        said = deployment.run("argonaut", "launch", *profile, deployment.folder / "lennard-jones.yaml").stdout
        pk = int(re.match(r"campaign (\d+) is running", said)[1])
        deployment.run("argonaut", "follow", *profile, pk)
        import json

        again = json.loads(deployment.run("argonaut", "status", *profile, pk, "--json").stdout)
    finally:
        deployment.run("verdi", *profile, "daemon", "stop")
    hashes = [[iteration["dataset"]["content_hash"] for iteration in s["iterations"]] for s in (summary, again)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("old", "new", "status", "words"),
    [
        # a calculator that cannot be made loses the whole shard's account: the command says why
        ("ase.calculators.lj:LennardJones", "ase.calculators.lj:Nonesuch", 401, "cannot be imported"),
        # members that cannot be trained: fewer than two survivors
        ("train: {steps: 40, members: 2}", "train: {steps: 40, members: 2, learning_rate: 1.0e+300}", 401, "survived"),
    ],
)
def test_a_campaign_that_cannot_go_on_ends_with_a_documented_code(deployment, tmp_path, old, new, status, words):
    path = tmp_path / "broken.yaml"
    path.write_text(CAMPAIGN.replace(old, new).replace("shard_size: 4", "shard_size: 100"))
    pk = deployment.finish(path, exit_code=1)
    summary = deployment.status(pk, exit_code=1)
    assert summary["exit_status"] == status
    assert words in deployment.run("verdi", "process", "report", pk).stdout + str(summary["exit_message"])
