"""The record of a campaign that was killed in the middle, read into a story without asking anything but the record."""

import dataclasses

import pytest


@pytest.fixture
def process(profile):
    """Make a process node with a caller, inputs and outputs."""
    from aiida import orm
    from aiida.common.links import LinkType

    def made(label, caller=None, link="", state="finished", inputs=None, outputs=None):
        node = orm.WorkChainNode()
        node.set_process_label(label)
        node.set_process_state(state)
        if state == "finished":
            node.set_exit_status(0)
        for port, data in (inputs or {}).items():
            node.base.links.add_incoming(data, LinkType.INPUT_WORK, port)
        if caller is not None:
            node.base.links.add_incoming(caller, LinkType.CALL_WORK, link)
        node.store()
        for port, data in (outputs or {}).items():
            data.base.links.add_incoming(node, LinkType.RETURN, port)
        return node

    return made


@pytest.fixture
def killed(process, frames, fresh, tmp_path):
    """A campaign killed while the first iteration after the seed set was training."""
    from aiida import orm

    from aiida_argonaut.mlip.dataset import Dataset
    from aiida_argonaut.mlip.predictions import PredictedFrame, write_predicted
    from aiida_argonaut.workflows.data import ConfigurationsData, DatasetData

    def dataset(name, labels):
        return DatasetData.from_dataset(Dataset.from_frames(labels), tmp_path / name).store()

    first, second = frames(4, seed=1), frames(3, seed=2)
    told = fresh(1, 4, second)
    predicted = [
        PredictedFrame(label.configuration, told.predictions[name], {"arm": told.arms[name]})
        for label in second
        for name in (label.configuration.configuration_id,)
    ]
    write_predicted(tmp_path / "frames.extxyz", predicted)
    candidates = ConfigurationsData.from_file(tmp_path / "frames.extxyz").store()
    (tmp_path / "seed").mkdir()
    starts = ConfigurationsData.from_configurations([f.configuration for f in first], tmp_path / "seed").store()
    settings = orm.Dict({"stop": {"iterations": 2}, "label": {}, "numerics": {"torch": "2"}}).store()
    campaign = process("CampaignWorkChain", state="killed", inputs={"settings": settings, "seed": orm.Int(3).store()})
    known, committee = dataset("first", first), orm.Dict({"a": "committee"}).store()
    zero = process("IterationWorkChain", campaign, "iteration_00", outputs={"dataset": known})
    account = orm.Dict({"submitted": 4, "ok": 4, "lost": []}).store()
    process("LabelWorkChain", zero, "label", inputs={"configurations": starts},
            outputs={"labels": known, "losses": account})  # fmt: skip
    previous = {"previous__dataset": known, "previous__committee": committee}
    one = process("IterationWorkChain", campaign, "iteration_01", state="killed", inputs=previous)
    made = {"labels": dataset("second", second), "losses": orm.Dict({"submitted": 3, "ok": 3, "lost": []}).store()}
    label = process("LabelWorkChain", one, "label", inputs={"configurations": candidates}, outputs=made)
    process("LabelAseCalculation", label, "shard_000", state="excepted")
    process("LabelAseCalculation", label, "shard_000_attempt_2")
    orm.Log(one.ctime, "aiida", "REPORT", one.pk, f"[{one.pk}|IterationWorkChain|plan]: iteration 1")
    orm.Log(label.ctime, "aiida", "REPORT", label.pk, f"[{label.pk}|LabelWorkChain|merge]: 3 submitted")
    return campaign, one, label


def test_a_killed_campaign_tells_all_that_it_left(killed):
    from aiida_argonaut.workflows.report.gather import gather

    campaign, one, label = killed
    story = gather(campaign)
    assert story.summary["state"] == "killed"
    assert len(story.frames) == 7
    (fresh,) = story.fresh
    assert (fresh.number, fresh.trained_on, len(fresh.labels)) == (1, 4, 3)
    assert {arm: len(fresh.of(arm)) for arm in ("random", "deviation")} == {"random": 1, "deviation": 2}
    assert story.repeated[one.pk] == {"shard": 1}
    assert story.family[label.pk] == one.pk
    assert [line.message for line in story.said] == ["iteration 1", "3 submitted"]
    assert dict(story.provenance)["torch"] == "2"


def test_its_page_can_be_made(killed):
    from aiida_argonaut.workflows.report.gather import gather
    from aiida_argonaut.workflows.report.page import page

    text = page(gather(killed[0]))
    assert "7 submitted = 7 ok + 0 lost" in text
    assert "The iteration was killed" in text or "the iteration was killed" in text


def test_reading_leaves_no_trace_in_the_record(killed):
    from aiida import orm

    from aiida_argonaut.workflows.report.gather import gather

    before = orm.QueryBuilder().append(orm.Node).count()
    one, other = gather(killed[0]), gather(killed[0])
    assert orm.QueryBuilder().append(orm.Node).count() == before
    assert [field.name for field in dataclasses.fields(one)] == [field.name for field in dataclasses.fields(other)]
    assert one.provenance == other.provenance
