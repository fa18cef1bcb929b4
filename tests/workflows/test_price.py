"""A price adds up, says where it comes from, and is what the limits of a campaign are compared with."""

from __future__ import annotations

import json

import pytest

DISTANT = {"source": "packing", "elements": ["H", "He", "Li"], "atoms": [2, 3], "minimum_distance_ratio": [0.9, 1.0]}
CAMPAIGN = {
    "seed": 3,
    "generate": {"recipe": DISTANT, "seed_set": 6, "starts": 4},
    "label": {"labeller": "ase", "shard_size": 4},
    "train": {"members": 3, "steps": 20, "records": 2},
    "explore": {"dataset_starts": 1, "steps": 10},
    "select": {"count": 5},
    "stop": {"iterations": 2},
}
FIELDS = ("core_hours", "wall_hours")


@pytest.fixture
def builder(profile, tmp_path):
    """Make the builder of a campaign whose codes are on a computer that is never used."""
    import yaml
    from aiida import orm

    from aiida_argonaut.workflows.campaign import CampaignWorkChain

    computer = orm.Computer(
        label="localhost",
        hostname="localhost",
        transport_type="core.local",
        scheduler_type="core.direct",
        workdir="/tmp",
    ).store()
    computer.configure(safe_interval=0)
    orm.InstalledCode(label="argonaut", computer=computer, filepath_executable="/bin/true").store()

    def made(**sections):
        document = {**CAMPAIGN, **{key: {**CAMPAIGN.get(key, {}), **value} for key, value in sections.items()}}
        path = tmp_path / "campaign.yaml"
        path.write_text(yaml.safe_dump(document))
        return CampaignWorkChain.get_builder_from_config(path)

    return made


@pytest.fixture
def quick(monkeypatch):
    """A trial that takes no time: 10 ms per training step, 1 ms per step of a trajectory."""
    from aiida_argonaut.workflows import price
    from aiida_argonaut.workflows.price_trial import Trial

    monkeypatch.setattr(price, "trial", lambda *_: Trial(0.010, 0.0, 0.001, 100_000))


def stages_of(document):
    return {stage["stage"]: stage for stage in document["stages"]}


def test_totals_are_the_sums_of_the_stages(builder, quick):
    from aiida_argonaut.workflows.price import price

    document = price(builder())
    stages, totals = document["stages"], document["totals"]
    assert [stage["stage"] for stage in stages] == ["generate", "explore", "select", "label", "train", "evaluate"]
    for field in FIELDS:
        for key in ("low", "expected", "high"):
            assert totals[field][key] == pytest.approx(sum(stage[field][key] for stage in stages))
    for field in ("jobs", "labels", "gpu_hours", "repository_bytes", "scratch_bytes"):
        assert totals[field] == pytest.approx(sum(stage[field] for stage in stages))
    for stage in [*stages, totals]:
        assert stage["source"]
        for field in FIELDS:
            assert 0 < stage[field]["low"] <= stage[field]["expected"] <= stage[field]["high"]


def test_jobs_are_counted_as_the_campaign_runs_them(builder, quick):
    from aiida_argonaut.workflows.price import price

    document = price(builder())
    assert document["labels_per_iteration"] == [6, 5, 5]
    jobs = {name: stage["jobs"] for name, stage in stages_of(document).items()}
    assert jobs == {"generate": 3, "explore": 2, "select": 2, "label": 2 + 2 + 2, "train": 9, "evaluate": 3}
    assert document["totals"]["labels"] == 16


def test_a_shard_is_paid_for_however_few_labels_it_has(builder, quick):
    from aiida_argonaut.workflows.price import price

    few = stages_of(price(builder()))["label"]
    one = stages_of(price(builder(label={"shard_size": 1})))["label"]
    assert (few["jobs"], one["jobs"]) == (6, 16)
    assert one["core_hours"]["expected"] > 2 * few["core_hours"]["expected"]


def test_a_pool_needs_no_job(builder, quick, configurations, tmp_path):
    from aiida_argonaut.mlip.frames import write_configurations
    from aiida_argonaut.workflows.price import price

    write_configurations(tmp_path / "pool.extxyz", configurations)
    document = price(builder(generate={"recipe": None, "pool": "pool.extxyz"}))
    assert stages_of(document)["generate"]["jobs"] == 0
    assert document["totals"]["jobs"] == sum(stage["jobs"] for stage in document["stages"])


def test_it_is_plain_json(builder, quick):
    from aiida_argonaut.workflows.price import price

    document = price(builder())
    assert json.loads(json.dumps(document)) == document


def test_nothing_is_stored(builder, quick):
    from aiida import orm

    from aiida_argonaut.workflows.price import price

    made = builder()
    before = orm.QueryBuilder().append(orm.Node).count()
    price(made)
    assert orm.QueryBuilder().append(orm.Node).count() == before


def test_steps_of_training_are_what_the_trial_says(builder, quick):
    from aiida_argonaut.workflows.price import START_UP, price

    train = stages_of(price(builder(train={"steps": 1000})))["train"]
    assert train["core_hours"]["expected"] == pytest.approx(9 * (START_UP + 10.0) / 3600)
    assert "trial" in train["source"]


def test_more_cores_cost_more_core_hours_and_no_time(builder, quick, monkeypatch):
    from aiida_argonaut.workflows.price import price

    monkeypatch.setattr("os.cpu_count", lambda: 64)
    one = stages_of(price(builder()))["train"]
    options = {"environment_variables": {"OMP_NUM_THREADS": "4"}}
    four = stages_of(price(builder(stages={"train": {"options": options}})))["train"]
    assert four["core_hours"]["expected"] == pytest.approx(4 * one["core_hours"]["expected"])
    assert four["wall_hours"] == one["wall_hours"]


def test_no_more_run_at_a_time_than_there_are_cores(builder, quick, monkeypatch):
    from aiida_argonaut.workflows.price import price

    monkeypatch.setattr("os.cpu_count", lambda: 64)
    wide = stages_of(price(builder(train={"max_jobs": 3})))["train"]["wall_hours"]["expected"]
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    narrow = stages_of(price(builder(train={"max_jobs": 3})))["train"]["wall_hours"]["expected"]
    assert narrow == pytest.approx(3 * wide)


@pytest.mark.parametrize("options", [{"custom_scheduler_commands": "#SBATCH --gres=gpu:1"}, {"queue_name": "gpu"}])
def test_gpu_hours_are_those_of_stages_that_ask_for_one(options, builder, quick):
    from aiida_argonaut.workflows.price import price

    stages = stages_of(price(builder(stages={"train": {"options": options}})))
    assert stages["train"]["gpu_hours"] == pytest.approx(stages["train"]["core_hours"]["expected"])
    assert sum(stage["gpu_hours"] for name, stage in stages.items() if name != "train") == 0


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({}, []),
        ({"labels": 10}, ["labels: the campaign would take 16 of the 10 labels: the campaign will stop early"]),
        ({"labels": 16}, ["labels: the campaign would take 16 of the 16 labels: within the limit"]),
        ({"core_hours": 1e-4}, ["core_hours: the labels alone would take", "of the 0.0001 core-hours", "stop early"]),
        ({"core_hours": 100.0, "wall_hours": 100.0}, ["core_hours:", "within the limit", "wall_hours:"]),
    ],
)
def test_limits_are_told(budget, words, builder, quick):
    from aiida_argonaut.workflows.price import price

    lines = price(builder(budget=budget))["budget"]
    assert len(lines) == len(budget)
    assert [word for word in words if word not in " ".join(lines)] == []


def test_a_limit_within_the_range_is_not_certain(builder, quick):
    from aiida_argonaut.workflows.price import price

    totals = price(builder())["totals"]["core_hours"]
    between = (totals["expected"] + totals["high"]) / 2
    (line,) = price(builder(budget={"core_hours": between}))["budget"]
    assert "within the limit, but that is not certain" in line


def test_the_table_shows_every_stage_and_every_source(builder, quick, capsys):
    from aiida_argonaut.workflows.cli.price_table import print_price
    from aiida_argonaut.workflows.price import price

    document = price(builder(budget={"labels": 10}))
    print_price("campaign.yaml", document)
    told = capsys.readouterr().out
    for stage in document["stages"]:
        assert stage["source"] in told
    assert "budget: labels" in told
    assert "GPU-hours are 0" in told
    assert "total" in told


@pytest.mark.parametrize(
    ("value", "words"),
    [(900.0, "0.9 kB"), (15_400.0, "15 kB"), (2.34e6, "2.3 MB"), (7.1e10, "71 GB"), (5.0e13, "50000 GB")],
)
def test_sizes_are_readable(value, words):
    from aiida_argonaut.workflows.cli.price_table import size

    assert size(value) == words


@pytest.mark.parametrize(("lost", "tried"), [(0, 20), (1, 20), (10, 20), (20, 20), (3, 1000)])
def test_the_range_of_a_share_holds_the_share(lost, tried):
    from aiida_argonaut.workflows.price_labels import wilson

    low, high = wilson(lost, tried)
    assert -1e-12 <= low <= lost / tried <= high + 1e-12 <= 1 + 2e-12
    assert high - low > 0
    assert wilson(10 * lost, 10 * tried)[1] - wilson(10 * lost, 10 * tried)[0] < high - low
    assert wilson(0, 0) == (0.0, 1.0)


def test_quantiles_need_enough_values():
    from aiida_argonaut.workflows.price_record import ENOUGH, calibration

    assert calibration([1.0] * (ENOUGH - 1)) is None
    found = calibration([1.0, 2.0, 3.0, 4.0, 50.0])
    assert (found.middle, found.number) == (3.0, 5)
    assert found.low < 2 < 4 < found.high


def test_a_trial_is_real(builder):
    from aiida_argonaut.workflows.price_sample import sample
    from aiida_argonaut.workflows.price_trial import trial

    made = builder()
    found = trial(sample(made, 3).first, made.settings.get_dict(), [1, 2, 3], 1)
    assert 1e-4 < found.training_step < 5.0
    assert 1e-6 < found.trajectory_step < 1.0
    assert found.validation >= 0
    assert found.model_bytes > 1000


def test_the_sample_is_the_seed_set_itself(builder):
    from aiida_argonaut.mlip.generate.recipe import configuration, recipe_from_mapping
    from aiida_argonaut.workflows.plan import iteration_plan
    from aiida_argonaut.workflows.price_sample import sample

    made = builder()
    plan = iteration_plan(made.settings.get_dict(), 3, 0)["generate"]
    recipe = recipe_from_mapping(plan["recipe"])
    expected = [configuration(recipe, plan["seed"], index).configuration_id for index in range(6)]
    found = sample(made, 3)
    assert [one.configuration_id for one in found.first] == expected
    assert len(found.later) == 8
    assert not {one.configuration_id for one in found.later} & set(expected)


def test_the_table_of_the_demo_is_what_was_measured():
    from pathlib import Path

    root = Path(__file__).parents[2]
    measured = (root / "benchmarks" / "results" / "price_demo.txt").read_text().splitlines()
    page = (root / "docs" / "prices.md").read_text()
    rows = [line for line in measured if line.startswith("|")]
    assert len(rows) == 7
    assert [line for line in rows if line not in page] == []
