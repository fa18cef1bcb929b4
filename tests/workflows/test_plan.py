"""Every stage of every iteration has a seed of its own, and all follow from the campaign's."""

import copy

import pytest

from aiida_argonaut.workflows.plan import derived_seed, iteration_plan

SETTINGS = {
    "generate": {"recipe": {"source": "packing"}, "seed_set": 24, "starts": 7},
    "train": {"architecture": "teanet", "preset": "campaign", "members": 3, "max_jobs": 2, "config": {"steps": 5}},
    "explore": {"dataset_starts": 2, "config": {"steps": 5}},
    "select": {"count": 4, "config": {}},
    "label": {"labeller": "ase", "max_jobs": 2},
    "stop": {"iterations": 2, "force_rmse": None},
    "stages": {},
    "numerics": {"torch": "2", "numpy": "2"},
}


def seeds(plan):
    stages = [plan[stage]["seed"] for stage in ("generate", "explore", "select")]
    return [*stages, *(member["seed"] for member in plan["members"].values())]


def test_no_two_stages_share_a_seed():
    everything = [s for seed in (1, 2) for number in range(20) for s in seeds(iteration_plan(SETTINGS, seed, number))]
    assert len(set(everything)) == len(everything) == 2 * 20 * 6
    assert all(0 <= seed < 2**31 for seed in everything)


def test_the_same_campaign_has_the_same_plan():
    before = copy.deepcopy(SETTINGS)
    assert iteration_plan(SETTINGS, 5, 3) == iteration_plan(SETTINGS, 5, 3)
    assert before == SETTINGS


def test_names_do_not_run_into_each_other():
    assert derived_seed(1, "train", 1, 11) != derived_seed(1, "train", 11, 1)
    assert derived_seed(1, "train", 11) != derived_seed(11, "train", 1)
    assert derived_seed(2026, "generate", 0) == derived_seed(2026, "generate", 0)


@pytest.mark.parametrize(("number", "count"), [(0, 24), (1, 7), (9, 7)])
def test_the_seed_set_comes_first_and_starts_later(number, count):
    plan = iteration_plan(SETTINGS, 1, number)
    assert plan["generate"]["count"] == count
    assert plan["plan"] == {"iteration": number}
    assert {"seed_set", "starts", "counted"}.isdisjoint(plan["generate"])


def test_what_comes_once_comes_in_the_first_iteration():
    generate = {**SETTINGS["generate"], "counted": 5}
    plans = [iteration_plan({**SETTINGS, "generate": generate}, 1, number) for number in (0, 1, 4)]
    assert [plan["generate"]["start"] for plan in plans] == [0, 5, 5]


def test_what_changes_a_result_is_part_of_its_stage_and_nothing_else():
    plan = iteration_plan(SETTINGS, 1, 1)
    for stage in ("generate", "explore", "select", "evaluate", *plan["members"]):
        assert (plan.get(stage) or plan["members"][stage])["numerics"] == SETTINGS["numerics"]
    assert sorted(plan["members"]) == ["member_00", "member_01", "member_02"]
    wider = {**SETTINGS, "train": {**SETTINGS["train"], "max_jobs": 8}}
    assert iteration_plan(wider, 1, 1) == plan, "how many jobs run at a time must not change what they are"
    larger = {**SETTINGS, "train": {**SETTINGS["train"], "members": 4}}
    members = iteration_plan(larger, 1, 1)["members"]
    assert {name: members[name] for name in plan["members"]} == plan["members"], "a larger committee keeps its members"


def test_members_take_turns_in_several_architectures():
    mixed = {**SETTINGS, "train": {**SETTINGS["train"], "architecture": ["teanet", "leignn"]}}
    members = iteration_plan(mixed, 1, 1)["members"]
    assert [member["architecture"] for member in members.values()] == ["teanet", "leignn", "teanet"]
    tuned = iteration_plan(mixed, 1, 1, tunes=True)["members"]
    assert not any({"architecture", "preset"} & member.keys() for member in tuned.values())
    assert [member["initial_member"] for member in tuned.values()] == [0, 1, 2]
