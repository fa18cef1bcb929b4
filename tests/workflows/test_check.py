"""A check gives every stage a verdict: what fails is a reason in one line, what depends on it is not tried."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import pytest

RECIPE = {"source": "packing", "elements": ["H", "He", "Li"], "atoms": [2, 3]}
CAMPAIGN = {
    "seed": 3,
    "generate": {"recipe": RECIPE, "seed_set": 6},
    "label": {"labeller": "ase"},
    "train": {"members": 3, "steps": 20},
    "explore": {"steps": 500},
    "select": {"count": 5},
}


@pytest.fixture
def check(profile):
    """Make a check whose stages do nothing, or raise what they are told to."""
    from aiida import orm

    from aiida_argonaut.workflows.check import Check
    from aiida_argonaut.workflows.config import config_from_document, stage_settings

    class Idle(Check):
        failing: ClassVar[dict[str, Exception]] = {}

        def act(self, stage):
            if stage in self.failing:
                raise self.failing[stage]
            return f"{stage} ran"

    for stage in ("codes", "generate", "label", "train", "explore", "select", "evaluate"):
        setattr(Idle, stage, lambda self, stage=stage: self.act(stage))

    def made(daemon=True, **failing):
        settings = {**stage_settings(config_from_document(CAMPAIGN, "campaign")), "label": {"labeller": "ase"}}
        builder = SimpleNamespace(settings=orm.Dict(settings), seed=orm.Int(3))
        one = Idle(builder, "campaign.yaml", lambda: daemon)
        one.failing = failing
        return one

    return made


def statuses(check):
    return {verdict.stage: verdict.status for verdict in check.verdicts()}


def test_all_is_well(check):
    from aiida_argonaut.workflows.check import OK

    assert set(statuses(check()).values()) == {OK}


def test_no_daemon_is_a_warning_and_stops_nothing(check):
    from aiida_argonaut.workflows.check import OK, WARNING

    found = statuses(check(daemon=False))
    assert found.pop("daemon") == WARNING
    assert set(found.values()) == {OK}


@pytest.mark.parametrize(
    ("stage", "not_tried"),
    [
        ("codes", {"generate", "label", "train", "explore", "select", "evaluate"}),
        ("label", {"train", "explore", "select", "evaluate"}),
        ("train", {"explore", "select", "evaluate"}),
        ("explore", {"select"}),
        ("evaluate", set()),
    ],
)
def test_what_depends_on_a_failed_stage_is_not_tried(stage, not_tried, check):
    from aiida_argonaut.workflows.check import FAILED, NOT_TRIED, OK

    found = statuses(check(**{stage: OSError("no\nsuch\ndisk")}))
    assert found.pop(stage) == FAILED
    assert {name for name, status in found.items() if status == NOT_TRIED} == not_tried
    assert {status for name, status in found.items() if name not in not_tried} == {OK}


def test_a_reason_is_one_line_with_advice(check):
    (verdict,) = [one for one in check(label=OSError("no\nsuch\ndisk")).verdicts() if one.stage == "label"]
    assert verdict.message == "OSError: no such disk"
    assert verdict.advice


def test_the_stages_are_asked_for_as_little_as_possible(check):
    from aiida_argonaut.workflows.check import CANDIDATES, MD_STEPS

    plan = check().plan
    assert plan["generate"]["count"] == CANDIDATES
    assert [member["config"]["steps"] for member in plan["members"].values()] == [1, 1]
    assert plan["explore"]["config"]["steps"] == MD_STEPS
    assert plan["select"]["count"] == 1


def test_the_campaigns_own_settings_stay_as_they_are(check):
    one = check()
    settings = one.builder.settings.get_dict()
    assert settings["train"]["members"] == CAMPAIGN["train"]["members"]
    assert settings["train"]["config"]["steps"] == CAMPAIGN["train"]["steps"]


def test_the_last_exception_of_a_log_is_quoted_without_its_traceback(profile):
    from datetime import UTC, datetime

    from aiida import orm

    from aiida_argonaut.workflows.check import last_log

    node = orm.CalcJobNode()
    node.set_process_status("Pausing")
    node.store()
    assert last_log(node) == "Pausing"
    told = (
        'Traceback (most recent call last):\n  File "x.py", line 1\nsome.SchedulerError: not taken\nstderr=no sbatch\n'
    )
    orm.Log(datetime.now(UTC), "aiida", "ERROR", node.pk, message=told)
    orm.Log(datetime.now(UTC), "aiida", "WARNING", node.pk, message="maximum attempts exceeded")
    assert "some.SchedulerError: not taken" in last_log(node)
    assert "no sbatch" in last_log(node)
    assert "Traceback" not in last_log(node)
