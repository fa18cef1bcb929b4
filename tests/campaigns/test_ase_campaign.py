"""A whole campaign with the `ase` labeller, as a user runs it: commands, daemon, record."""

import itertools

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DISTANT = {"minimum_distance_ratio": [0.9, 1.0]}
"""Keeps the atoms where the potential is not steep: a committee of so few labels must still move them."""
CAMPAIGN = {
    "seed": 11,
    "generate": {
        "recipe": {"source": "packing", "elements": ["H", "He", "Li", "Be"], "atoms": [2, 3], **DISTANT},
        "seed_set": 6,
        "starts": 4,
    },
    "label": {"labeller": "ase", "parameters": {"sigma": 0.6, "epsilon": 0.1, "rc": 4.0}, "shard_size": 4},
    "train": {"members": 2, "steps": 15, "records": 3},
    "explore": {"dataset_starts": 2, "steps": 10, "min_steps": 5, "sample_interval": 5},
    "select": {"count": 3, "random_fraction": 0.34},
    "stop": {"iterations": 1},
}


BAR_FROM_CACHE = """
from aiida import load_profile, orm
load_profile()
campaigns = orm.QueryBuilder().append(orm.WorkChainNode, filters={"label": "lennard-jones"}).all(flat=True)
for node in (node for campaign in campaigns for node in campaign.called_descendants):
    node.base.caching.is_valid_cache = False
"""


@pytest.fixture(scope="module")
def campaign_file(deployment):
    path = deployment.folder / "lennard-jones.yaml"
    path.write_text(yaml.safe_dump(CAMPAIGN))
    return path


@pytest.fixture(scope="module")
def first(deployment, campaign_file):
    """pk of the finished campaign."""
    return deployment.finish(campaign_file)


@pytest.fixture(scope="module")
def second(deployment, campaign_file, first):
    """pk of the same campaign, run again with nothing taken from the cache."""
    deployment.run("python", "-c", BAR_FROM_CACHE)
    return deployment.finish(campaign_file)


def facts(pk):
    """What must be the same in every run of a campaign file, read from the record."""
    from aiida_argonaut.provenance_db.queries import iterations, load_campaign

    found = []
    for node in iterations(load_campaign(pk)):
        frames = node.outputs.dataset.dataset().frames
        found.append(
            {
                "configurations": [c.configuration_id for c in node.outputs.candidates.configurations()],
                "labels": sorted(frame.label_id for frame in frames),
                "dataset": node.outputs.dataset.content_hash,
            }
        )
    return found


def test_status_adds_up(deployment, first):
    summary = deployment.status(first)
    assert (summary["state"], summary["exit_status"], summary["label"]) == ("finished", 0, "lennard-jones")
    seed_set, later = summary["iterations"]
    assert (seed_set["labels"]["submitted"], later["labels"]["submitted"]) == (6, 3)
    total = 0
    for iteration in (seed_set, later):
        labels = iteration["labels"]
        assert labels["submitted"] == labels["ok"] + len(labels["lost"])
        total += labels["ok"]
        assert iteration["dataset"]["n_frames"] == total
        assert iteration["committee"]["n_members"] == 2
        assert iteration["members_trained"] == {"ok": 2, "waiting": 0}
        assert iteration["errors"]["n_frames"] == labels["ok"]
        assert iteration["errors"]["after"]["forces_rmse_meV_per_A"] > 0
        stages = {stage: seconds for stage, seconds in iteration["seconds"].items() if stage != "total"}
        assert set(stages) >= {"generate", "label", "train", "evaluate"}
        assert all(0 < seconds <= iteration["seconds"]["total"] for seconds in stages.values())
    assert "before" not in seed_set["errors"]
    assert later["errors"]["before"]["forces_rmse_meV_per_A"] > 0
    quantiles = list(later["errors"]["deviation"]["deviation_quantiles"].values())
    assert quantiles == sorted(quantiles)
    assert quantiles[-1] > 0
    assert sum(later["stop_reasons"].values()) == 4 + 2
    assert sum(later["selection"]["counts"].values()) >= 3
    assert sum(later["selection"]["arms"].values()) == 3
    assert later["selection"]["arms"]["random"] == 1


def test_the_table_tells_the_same(deployment, first):
    table = deployment.run("argonaut", "status", first).stdout
    assert "finished well" in table
    assert "verdicts:" in table
    assert "times:" in table


def test_launch_prints_commands_that_work(deployment, campaign_file, first):
    said = deployment.run("argonaut", "launch", campaign_file).stdout.splitlines()
    lines = [line.strip() for line in said[1:]]
    assert any("verdi" in line and "process report" in line for line in lines)
    followed = deployment.run("env", "-i", "HOME=/nonexistent", "bash", "-ec", "\n".join(lines)).stdout
    assert "CampaignWorkChain" in followed
    assert "finished well" in deployment.run("argonaut", "status", int(said[0].split()[1])).stdout


def test_the_record_reads_like_a_story(deployment, first):
    report = deployment.run("verdi", "process", "report", first).stdout
    for words in ("a seed set and at most 1 iterations", "iteration 0 done", "iteration 1 done", "all iterations done"):
        assert words in report
    tree = deployment.run("verdi", "process", "status", first).stdout
    for name in ("IterationWorkChain", "LabelWorkChain", "TrainWorkChain", "ExploreCalculation", "SelectCalculation"):
        assert name in tree


def test_nothing_comes_from_nowhere(deployment, first):
    assert "0 nodes without provenance" in deployment.run("argonaut", "audit", first).stdout


def test_predictions_are_stored_before_their_labels(record, first):
    from aiida_argonaut.provenance_db.queries import iterations, load_campaign

    later = iterations(load_campaign(first))[1]
    predicted = {frame.configuration.configuration_id for frame in later.outputs.candidates.predicted_frames()}
    assert {frame.configuration.configuration_id for frame in later.outputs.labels.dataset().frames} <= predicted
    assert len(predicted) == 3
    assert later.outputs.candidates.ctime < later.outputs.labels.ctime
    labelling = later.base.links.get_outgoing().get_node_by_label("label")
    assert later.outputs.candidates.ctime < labelling.ctime


def test_the_committee_is_an_ase_calculator(record, first, tmp_path):
    import numpy as np
    from ase.build import bulk

    from aiida_argonaut.mlip.calculator import CommitteeCalculator
    from aiida_argonaut.provenance_db.queries import load_campaign

    atoms = bulk("LiH", "rocksalt", a=4.0)
    atoms.calc = CommitteeCalculator(load_campaign(first).outputs.committee.export_to(tmp_path / "model"))
    assert np.isfinite(atoms.get_potential_energy())
    assert atoms.get_forces().shape == (2, 3)
    assert atoms.calc.results["force_deviation"].shape == (2,)


def test_the_same_file_gives_the_same_campaign(record, first, second):
    from aiida_argonaut.provenance_db.queries import descendants, load_campaign

    assert not any(node.base.caching.is_created_from_cache for node in descendants(load_campaign(second)))
    one, other = facts(first), facts(second)
    for number, name in itertools.product(range(2), ("configurations", "labels", "dataset")):
        assert one[number][name] == other[number][name], f"iteration {number}: {name} differ"


def test_at_most_two_jobs_of_a_kind_at_a_time(record, second):
    from aiida_argonaut.provenance_db.queries import descendants, load_campaign

    for name in ("LabelAseCalculation", "TrainCalculation"):
        jobs = [node for node in descendants(load_campaign(second)) if node.process_label == name]
        assert len(jobs) >= 2
        assert all(sum(a.ctime <= b.ctime < a.mtime for a in jobs) <= 2 for b in jobs)


def test_a_planted_orphan_turns_the_audit_red(deployment, record, second):
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.provenance_db.queries import iterations, load_campaign

    label = iterations(load_campaign(second))[0].base.links.get_outgoing().get_node_by_label("label")
    assert "0 nodes without" in deployment.run("argonaut", "audit", second).stdout
    planted = orm.WorkChainNode(label="planted")
    planted.set_process_label("PlantedWorkChain")
    orphan = orm.Int(3).store()
    planted.base.links.add_incoming(orphan, LinkType.INPUT_WORK, "threshold")
    planted.store()
    # below AiiDA's rules, which do not let a process that has ended call another
    planted.backend_entity.add_incoming(label.backend_entity, LinkType.CALL_WORK, "planted")
    said = deployment.run("argonaut", "audit", second, exit_code=1).stdout
    assert f"Int<{orphan.pk}>" in said
    assert "threshold" in said
    assert "1 nodes without provenance" in said


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("status", "999999"), "no such node"),
        (("follow", "not-a-pk"), "no such node"),
        (("audit", "1"), "expected the pk or uuid of a CampaignWorkChain"),
        (("plot", "999999", "-o", "x.png"), "no such node"),
        (("status", "-p", "nobody", "1"), "no AiiDA profile 'nobody'"),
    ],
)
def test_what_is_no_campaign_is_refused_in_one_line(deployment, command, expected):
    done = deployment.run("argonaut", *command, exit_code=2)
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr
