"""A whole campaign with the `ase` labeller, as a user runs it, then damaged and mended, then killed twice over.

The campaign and the means to kill it are those of benchmarks/kill_table.py.
"""

import contextlib
import importlib.util
import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

LOSE_REMOTE_FOLDER = """
import sys
from aiida import load_profile, orm
load_profile()
from aiida.manage import get_manager
from sqlalchemy import text
campaign = orm.load_node(int(sys.argv[1]))
label = next(n for n in campaign.called_descendants if n.process_label == "LabelAseCalculation")
session = get_manager().get_profile_storage().get_session()
session.execute(text(f"DELETE FROM db_dblink WHERE input_id = {label.pk} AND label = 'remote_folder'"))
session.commit()
print(label.pk)
"""
"""Does to a real calculation what a kill between its end and its outputs does (aiida-core 2.9.4)."""


@pytest.fixture(scope="module")
def kills():
    """The benchmark as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "kill_table.py"
    spec = importlib.util.spec_from_file_location("kill_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def campaign_file(deployment, kills):
    path = deployment.folder / "lennard-jones.yaml"
    path.write_text(yaml.safe_dump(kills.CAMPAIGN))
    return path


@pytest.fixture(scope="module")
def first(deployment, campaign_file):
    """pk of the finished campaign."""
    return deployment.finish(campaign_file)


@pytest.fixture(scope="module")
def again(deployment, campaign_file, first):
    """What was said when a label of the finished campaign was damaged and mended, and the campaign launched again.

    (pk of the label, what `repair` said, lines of `launch`, what the commands in these lines said)
    """
    damaged = deployment.run("python", "-c", LOSE_REMOTE_FOLDER, first).stdout.strip()
    mended = deployment.run("argonaut", "repair", first).stdout
    said = deployment.run("bash", "-c", f"argonaut launch {campaign_file.name}").stdout.splitlines()
    lines = "\n".join(line.strip() for line in said[1:])
    followed = deployment.run("env", "-i", "HOME=/nonexistent", "bash", "-ec", lines).stdout
    return damaged, mended, said, followed


def kill(where, target, deployment, pk, told):
    """Kill all that a target stands for as soon as the campaign is where it shall be; how many processes that were."""
    deployment.until(pk, told)
    while not (victims := where.processes(target)):  # between two jobs there is none to kill
        pass
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)
    return len(victims)


@pytest.fixture(scope="module")
def killed(deployment, campaign_file, kills, first):
    """(pk of the same campaign with nothing to take from the cache, numbers of processes that were killed).

    A job is killed in the seed set, and everything at once in the iteration after it; then the README is followed.
    """
    where = kills.Site(deployment.folder)
    deployment.run("python", "-c", kills.BAR_FROM_CACHE)
    pk = deployment.launch(campaign_file)
    job = kill(where, "job", deployment, pk, lambda summary: summary["iterations"])
    everything = kill(where, "everything", deployment, pk, lambda summary: len(summary["iterations"]) == 2)
    deployment.run("verdi", "daemon", "start", "2")
    with contextlib.suppress(subprocess.TimeoutExpired):  # where it stands still, `repair` is due
        deployment.run("argonaut", "follow", pk, exit_code=None, timeout=600)
    return kills.to_the_end(where, pk)[0], job, everything


def facts(pk):
    """What must be the same in every run of a campaign file, read from the record."""
    from aiida_argonaut.provenance_db.queries import iterations, load_campaign

    found = []
    for node in (node for node in iterations(load_campaign(pk)) if node.is_finished_ok):
        frames = node.outputs.dataset.dataset().frames
        losses = node.outputs.losses
        found.append(
            {
                "configurations": [c.configuration_id for c in node.outputs.candidates.configurations()],
                "labels": sorted(frame.label_id for frame in frames),
                "dataset": node.outputs.dataset.content_hash,
                "lost": sorted(loss["configuration_id"] for loss in losses["lost"]),
            }
        )
        assert losses["submitted"] == losses["ok"] + len(losses.get("rescued", [])) + len(losses["lost"])
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


def test_at_most_two_jobs_of_a_kind_at_a_time(record, first):
    from aiida_argonaut.provenance_db.queries import descendants, load_campaign

    for name, number in (("LabelAseCalculation", 5), ("TrainCalculation", 4)):
        jobs = [node for node in descendants(load_campaign(first)) if node.process_label == name]
        assert len(jobs) == number
        assert all(sum(a.ctime <= b.ctime < a.mtime for a in jobs) <= 2 for b in jobs)


def test_a_damaged_calculation_is_barred_and_computed_again(deployment, record, first, again):
    from aiida_argonaut.provenance_db.queries import descendants, load_campaign

    damaged, mended, said, _ = again
    assert f"LabelAseCalculation <{damaged}> ended 0 without remote_folder: barred 1 nodes from the cache" in mended
    assert "1 things mended" in mended
    nodes = descendants(load_campaign(int(said[0].split()[1])))
    labels = [node for node in nodes if node.process_label == "LabelAseCalculation"]
    assert sum(not label.base.caching.is_created_from_cache for label in labels) == 1, "the others come from the cache"
    assert deployment.run("argonaut", "repair", first).stdout.endswith("nothing was damaged\n")


def test_launch_prints_commands_that_work(deployment, again):
    _, _, said, followed = again
    assert any("verdi" in line and "process report" in line for line in said[1:])
    assert "CampaignWorkChain" in followed
    assert "finished well" in deployment.run("argonaut", "status", int(said[0].split()[1])).stdout


def test_what_was_killed_ends_as_if_nothing_had_been(record, first, killed):
    """The same file gives the same campaign, and a job that was killed, or everything at once, changes nothing."""
    from aiida_argonaut.provenance_db.queries import chain, descendants, load_campaign

    pk, job, everything = killed
    assert job >= 1
    assert everything >= 4
    nodes = [node for part in chain(load_campaign(pk)) for node in descendants(part)]
    sources = {node.base.caching.get_cache_source() for node in nodes if node.base.caching.is_created_from_cache}
    assert sources <= {node.uuid for node in nodes}, "something came from the cache of another campaign"
    one, other = facts(first), facts(pk)
    assert [len(fact["labels"]) for fact in one] == [6, 9]
    for number, name in itertools.product(range(2), one[0]):
        assert one[number][name] == other[number][name], f"iteration {number}: {name} differ"


def test_a_planted_orphan_turns_the_audit_red(deployment, record, killed):
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.provenance_db.queries import iterations, load_campaign

    label = iterations(load_campaign(killed[0]))[0].base.links.get_outgoing().get_node_by_label("label")
    assert "0 nodes without" in deployment.run("argonaut", "audit", killed[0]).stdout
    planted = orm.WorkChainNode(label="planted")
    planted.set_process_label("PlantedWorkChain")
    orphan = orm.Int(3).store()
    planted.base.links.add_incoming(orphan, LinkType.INPUT_WORK, "threshold")
    planted.store()
    # below AiiDA's rules, which do not let a process that has ended call another
    planted.backend_entity.add_incoming(label.backend_entity, LinkType.CALL_WORK, "planted")
    said = deployment.run("argonaut", "audit", killed[0], exit_code=1).stdout
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
