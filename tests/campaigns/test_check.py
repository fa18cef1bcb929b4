"""`argonaut check` and `argonaut launch --dry-run` as a user runs them, on campaigns that work and that cannot."""

import json
import shutil

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(1500)]

ASE = {
    "seed": 11,
    "generate": {
        "recipe": {
            "source": "packing",
            "elements": ["H", "He", "Li", "Be"],
            "atoms": [2, 3],
            "minimum_distance_ratio": [0.9, 1.0],
        },
        "seed_set": 6,
        "starts": 4,
    },
    "label": {"labeller": "ase", "parameters": {"sigma": 0.6, "epsilon": 0.1, "rc": 4.0}, "shard_size": 4},
    "train": {"members": 3, "steps": 15, "records": 3},
    "explore": {"dataset_starts": 2, "steps": 10, "min_steps": 5, "sample_interval": 5},
    "select": {"count": 3},
    "stop": {"iterations": 1},
}
PW = {
    **ASE,
    "label": {
        "protocol": "fast",
        "reference_atoms": False,
        "overrides": {"wavefunction_cutoff": 25, "density_cutoff": 125, "kpoints_spacing": 2.0},
    },
}
STAGES = ["codes", "daemon", "generate", "label", "train", "explore", "select", "evaluate"]
COUNT = """
from aiida import load_profile, orm
load_profile()
print(orm.QueryBuilder().append(orm.Node).count())
"""


@pytest.fixture
def write(deployment):
    def written(name, campaign, **sections):
        path = deployment.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**campaign, **sections}))
        return path

    return written


def checked(deployment, path, exit_code=0):
    """Verdicts of `argonaut check --json` by stage."""
    done = deployment.run("argonaut", "check", path, "--json", exit_code=exit_code)
    assert done.stderr == "", "what AiiDA logs of processes that fail is in the record, not on the screen"
    document = json.loads(done.stdout)
    assert [stage["stage"] for stage in document["stages"]] == STAGES
    assert document["ok"] == (exit_code == 0)
    return {stage["stage"]: stage for stage in document["stages"]}


@pytest.fixture(scope="module")
def works(deployment):
    """Files and verdicts of two campaigns that can be launched."""
    found = {}
    for name, campaign in (("ase", ASE), ("pw", PW)):
        path = deployment.folder / f"works-{name}.yaml"
        path.write_text(yaml.safe_dump(campaign))
        found[name] = path, checked(deployment, path)
    return found


@pytest.mark.parametrize("name", ["ase", "pw"])
def test_every_stage_of_a_campaign_that_works_is_ok(name, works, record):
    from aiida import orm

    path, verdicts = works[name]
    assert {stage: verdict["status"] for stage, verdict in verdicts.items()} == dict.fromkeys(STAGES, "ok")
    for stage in ("generate", "label", "train", "explore", "select", "evaluate"):
        node = orm.load_node(verdicts[stage]["pk"])
        assert node.label == f"check of {path.name}"
        assert verdicts[stage]["seconds"] > 0
    labels = orm.load_node(verdicts["label"]["pk"]).outputs.labels.dataset()
    assert len(labels) == 1
    assert orm.load_node(verdicts["train"]["pk"]).outputs.committee.n_members == 2


def test_a_label_is_real_every_time(deployment, works, write, record):
    """What the check is for cannot be learned from the cache; what the committee is needed for is not tried."""
    from aiida import orm

    failing = write("no-training", PW, stages={"train": {"options": {"prepend_text": "exit 3"}}})
    second = checked(deployment, failing, exit_code=1)
    for verdicts in (works["pw"][1], second):
        label = orm.load_node(verdicts["label"]["pk"])
        (job,) = [node for node in label.called_descendants if node.process_label == "PwCalculation"]
        assert job.is_finished_ok
        assert not job.base.caching.is_created_from_cache
    assert (second["label"]["status"], second["train"]["status"]) == ("ok", "failed")
    assert {second[stage]["status"] for stage in ("explore", "select", "evaluate")} == {"not tried"}


@pytest.mark.parametrize(
    ("name", "campaign", "sections", "words"),
    [
        (
            "no-calculator",
            ASE,
            {"label": {"labeller": "ase", "calculator": "ase.nothing:Nothing"}},
            "cannot be imported",
        ),
        ("no-pw", PW, {"stages": {"label": {"options": {"prepend_text": "exit 3"}}}}, "output_incomplete"),
    ],
)
def test_a_stage_that_fails_is_named_with_its_reason(name, campaign, sections, words, deployment, write):
    path = write(name, campaign, **sections)
    verdicts = checked(deployment, path, exit_code=1)
    assert verdicts["label"]["status"] == "failed"
    assert words in verdicts["label"]["message"]
    assert "\n" not in verdicts["label"]["message"]
    assert verdicts["label"]["advice"]
    assert verdicts["generate"]["status"] == "ok"
    assert {verdicts[stage]["status"] for stage in ("train", "explore", "select", "evaluate")} == {"not tried"}


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="needs a computer without Slurm")
def test_a_scheduler_that_takes_no_job_is_given_up(deployment, write, record):
    """AiiDA would pause the job after minutes, and nobody would resume it."""
    from aiida import orm

    computer = orm.Computer(
        label="no-slurm", hostname="localhost", transport_type="core.local", scheduler_type="core.slurm",
        workdir=str(deployment.folder / "no-slurm"),
    ).store()  # fmt: skip
    computer.configure(safe_interval=0)
    executable = str(orm.load_code("argonaut@localhost").filepath_executable)
    orm.InstalledCode(label="argonaut", computer=computer, filepath_executable=executable).store()
    path = write("no-slurm", ASE, stages={"generate": {"code": "argonaut@no-slurm"}})
    verdict = checked(deployment, path, exit_code=1)["generate"]
    assert "sbatch" in verdict["message"]
    jobs = orm.QueryBuilder().append(orm.CalcJobNode, filters={"dbcomputer_id": computer.pk}).all(flat=True)
    assert [job.is_killed for job in jobs] == [True]


def test_a_computer_without_the_executable_is_found_before_anything_runs(deployment, write, record):
    """The same is told in a table for people."""
    from aiida import orm

    orm.InstalledCode(
        label="gone", computer=orm.load_computer("localhost"), filepath_executable="/nowhere/argonaut"
    ).store()
    path = write("gone", ASE, stages={"train": {"code": "gone@localhost"}})
    verdicts = checked(deployment, path, exit_code=1)
    assert verdicts["codes"]["status"] == "failed"
    assert "/nowhere/argonaut" in verdicts["codes"]["message"]
    assert {verdicts[stage]["status"] for stage in STAGES[2:]} == {"not tried"}
    done = deployment.run("argonaut", "check", path, exit_code=1)
    assert "/nowhere/argonaut" in done.stdout
    assert "gone.yaml would fail in: codes" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_bad_input_is_one_line(deployment, write):
    path = write("bad", ASE, train={"members": 1})
    done = deployment.run("argonaut", "check", path, exit_code=2)
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("campaign", [ASE, PW], ids=["ase", "pw"])
def test_a_dry_run_leaves_nothing_behind(campaign, deployment, write):
    path = write("dry", campaign, budget={"labels": 8})
    before = deployment.run("python", "-c", COUNT).stdout
    document = json.loads(deployment.run("argonaut", "launch", path, "--dry-run", "--json").stdout)
    table = deployment.run("argonaut", "launch", path, "--dry-run").stdout
    assert deployment.run("python", "-c", COUNT).stdout == before
    assert document["labels_per_iteration"] == [6, 3]
    assert document["totals"]["labels"] == 9
    assert document["totals"]["core_hours"]["expected"] > 0
    assert "9 of the 8 labels: the campaign will stop early" in document["budget"][0]
    assert document["budget"][0] in table


def test_json_is_for_dry_runs(deployment, write):
    assert "--dry-run" in deployment.run("argonaut", "launch", write("dry", ASE), "--json", exit_code=2).stderr
