"""The summary of a campaign is read from the record alone, at any moment of its life."""

import pytest


@pytest.fixture
def campaign(process):
    from aiida import orm

    settings, seed = orm.Dict({"stop": {"iterations": 2}}).store(), orm.Int(7).store()
    return process("CampaignWorkChain", state="running", inputs={"settings": settings, "seed": seed})


def test_a_campaign_that_has_just_begun(campaign):
    from aiida_argonaut.provenance_db.queries import campaign_summary

    summary = campaign_summary(campaign)
    assert (summary["state"], summary["exit_status"], summary["seed"]) == ("running", None, 7)
    assert summary["iterations_planned"] == 3
    assert summary["iterations"] == []
    assert summary["seconds"] >= 0


def test_iterations_are_in_order_and_children_are_the_oldest_of_their_name(campaign, process):
    from aiida_argonaut.provenance_db.queries import campaign_summary, iterations

    second = process("IterationWorkChain", campaign, "iteration_01", state="running")
    first = process("IterationWorkChain", campaign, "iteration_00", status=0)
    process("IterationWorkChain", campaign, "iteration_01", state="running")
    assert [node.pk for node in iterations(campaign)] == [first.pk, second.pk]
    assert [iteration["stage"] for iteration in campaign_summary(campaign)["iterations"]] == ["done", "plan"]


def test_the_hundredth_iteration_comes_after_the_eleventh(campaign, process):
    from aiida_argonaut.provenance_db.queries import iterations

    made = {k: process("IterationWorkChain", campaign, f"iteration_{k:02d}").pk for k in (100, 11, 9, 99, 10)}
    assert [node.pk for node in iterations(campaign)] == [made[k] for k in (9, 10, 11, 99, 100)]


@pytest.mark.parametrize("cut_off", [None, "created"])
@pytest.mark.parametrize("kind", ["WorkChainNode", "CalcJobNode"])
def test_a_child_that_nothing_will_run_is_no_child(kind, cut_off, campaign, process):
    """As `Runner.submit` leaves it: stored, then with a checkpoint, then at work, then done and without again."""
    from aiida import orm

    from aiida_argonaut.provenance_db.called import children, is_stillborn

    def child(link, state):
        return process("TrainCalculation", campaign, link, state=state, kind=getattr(orm, kind))

    dead, queued = child("member_00", cut_off), child("member_01", "created")
    queued.set_checkpoint("a bundle")
    others = [
        child(f"member_{k:02d}", state) for k, state in enumerate(("running", "waiting", "finished", "killed"), 2)
    ]
    assert is_stillborn(dead)
    assert not any(is_stillborn(node) for node in (queued, *others))
    assert {node.pk for node in children(campaign).values()} == {queued.pk, *(node.pk for node in others)}
    alive = child("member_00", "running")
    assert children(campaign)["member_00"].pk == alive.pk


@pytest.mark.parametrize("state", ["created", "running", "finished"])
def test_a_function_needs_no_checkpoint_to_live(state, campaign, process):
    from aiida import orm

    from aiida_argonaut.provenance_db.called import children, is_stillborn

    function = process("merge_datasets", campaign, "CALL", state=state, kind=orm.CalcFunctionNode)
    assert not is_stillborn(function)
    assert children(campaign)["CALL"].pk == function.pk


def test_labels_are_counted_while_they_run(campaign, process, configurations, tmp_path):
    from aiida_argonaut.provenance_db.queries import iteration_summary
    from aiida_argonaut.workflows.data import ConfigurationsData

    candidates = ConfigurationsData.from_configurations(configurations, tmp_path).store()
    iteration = process("IterationWorkChain", campaign, "iteration_00", state="waiting")
    label = process("LabelWorkChain", iteration, "label", state="waiting", inputs={"configurations": candidates})
    shard = process("LabelPwWorkChain", label, "shard", state="waiting")
    process("PwBaseWorkChain", shard, "label_000", status=0)
    process("PwBaseWorkChain", shard, "label_001", status=400)
    process("PwBaseWorkChain", shard, "label_002", state="running")
    summary = iteration_summary(iteration)
    assert summary["stage"] == "label"
    assert summary["labels"] == {"submitted": 4, "ended": 1, "in_flight": 2}
    assert set(summary["seconds"]) == {"total", "label"}


def test_a_label_counts_by_its_newest_attempt_in_the_newest_attempt_of_its_shard(campaign, process):
    from aiida_argonaut.provenance_db.queries import label_counts

    label = process("LabelWorkChain", campaign, "label", state="waiting")
    first = process("LabelPwWorkChain", label, "shard_000", state="excepted")
    process("PwBaseWorkChain", first, "label_000")
    process("PwBaseWorkChain", first, "label_001")
    again = process("LabelPwWorkChain", label, "shard_000_attempt_2", state="waiting")
    process("PwBaseWorkChain", again, "label_000", status=400)
    process("PwBaseWorkChain", again, "label_000_attempt_2")
    process("PwBaseWorkChain", again, "label_001", status=400)
    process("PwBaseWorkChain", again, "label_001_attempt_10", state="running")
    process("PwBaseWorkChain", again, "label_001_attempt_9", status=400)
    other = process("LabelPwWorkChain", label, "shard_001", state="waiting")
    process("PwBaseWorkChain", other, "label_000")
    process("PwBaseWorkChain", other, "label_001", state="running")
    process("PwBaseWorkChain", other, "prepare", state="running")
    assert label_counts(label) == (2, 0, 2)


@pytest.mark.parametrize("names", [("shard_000", "shard_001", "shard_002"), ("shard",)])
def test_labels_of_a_calculation_count_with_their_shard(names, campaign, process, configurations, tmp_path):
    from aiida import orm

    from aiida_argonaut.provenance_db.queries import label_counts
    from aiida_argonaut.workflows.data import ConfigurationsData

    def shard(link, n_frames, **keywords):
        (tmp_path / link).mkdir()
        given = ConfigurationsData.from_configurations(configurations[:n_frames], tmp_path / link).store()
        inputs = {"configurations": given}
        process("LabelAseCalculation", label, link, inputs=inputs, kind=orm.CalcJobNode, **keywords)

    label = process("LabelWorkChain", campaign, "label", state="waiting")
    assert (label_counts(label).ended, label_counts(label).in_flight) == (0, 0)
    shard(names[0], 3, state="running")
    assert (label_counts(label).ended, label_counts(label).in_flight) == (0, 3)
    for name in names[1:]:
        shard(name, 1)
    rest = len(names) - 1
    assert (label_counts(label).ended, label_counts(label).in_flight) == (rest, 3)
    shard(f"{names[0]}_attempt_2", 3, state="excepted")
    assert (label_counts(label).ended, label_counts(label).in_flight) == (rest + 3, 0)
    shard(f"{names[0]}_attempt_3", 3, state="waiting")
    assert (label_counts(label).ended, label_counts(label).in_flight) == (rest, 3)


def test_losses_are_told_with_their_reasons(campaign, process, configurations, tmp_path):
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.provenance_db.queries import label_summary
    from aiida_argonaut.workflows.data import ConfigurationsData

    candidates = ConfigurationsData.from_configurations(configurations, tmp_path).store()
    label = process("LabelWorkChain", campaign, "label", inputs={"configurations": candidates})
    lost = [{"reason": reason} for reason in ("scf_not_converged", "force_cap", "scf_not_converged")]
    losses = orm.Dict({"submitted": 4, "ok": 1, "lost": lost}).store()
    losses.base.links.add_incoming(label, LinkType.RETURN, "losses")
    summary = label_summary(label)
    assert summary["reasons"] == {"scf_not_converged": 2, "force_cap": 1}
    assert summary["submitted"] == summary["ok"] + len(summary["lost"])


def test_rescued_labels_are_told_by_what_rescued_them(campaign, process, configurations, tmp_path):
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.provenance_db.queries import label_counts, label_summary
    from aiida_argonaut.workflows.data import ConfigurationsData

    candidates = ConfigurationsData.from_configurations(configurations, tmp_path).store()
    label = process("LabelWorkChain", campaign, "label", inputs={"configurations": candidates})
    rescued = [{"configuration_id": "c", "formula": "HLi", "source": "packing", "rung": name} for name in "aab"]
    losses = orm.Dict({"submitted": 4, "ok": 0, "rescued": rescued, "lost": [{"reason": "cholesky"}]}).store()
    losses.base.links.add_incoming(label, LinkType.RETURN, "losses")
    summary = label_summary(label)
    assert summary["rescued"] == {"a": 2, "b": 1}
    assert summary["submitted"] == summary["ok"] + sum(summary["rescued"].values()) + len(summary["lost"])
    assert label_counts(label) == (4, 1, 0)


def test_a_member_counts_by_its_last_attempt(campaign, process):
    from aiida import orm

    from aiida_argonaut.provenance_db.queries import member_summary

    members = {f"members__member_{k:02d}": orm.Dict({"seed": k}).store() for k in range(4)}
    train = process("TrainWorkChain", campaign, "train", state="waiting", inputs=members)
    process("TrainCalculation", train, "member_00", status=0)
    process("TrainCalculation", train, "member_01", status=300)
    process("TrainCalculation", train, "member_01_attempt_2", status=0)
    process("TrainCalculation", train, "member_02", status=300)
    process("TrainCalculation", train, "member_02_attempt_2", state="running")
    counted = member_summary(train)
    assert counted["ok"] == 2
    assert counted["running"] == 1
    assert counted["waiting"] == 1
    assert "lost" not in counted


def test_descendants_are_all_of_them_once(campaign, process):
    from aiida_argonaut.provenance_db.queries import descendants

    iteration = process("IterationWorkChain", campaign, "iteration_00")
    others = [process("LabelWorkChain", iteration, "label"), process("TrainWorkChain", iteration, "train")]
    stranger = process("CampaignWorkChain")
    found = [node.pk for node in descendants(campaign)]
    assert sorted(found) == sorted([campaign.pk, iteration.pk, *(node.pk for node in others)])
    assert stranger.pk not in found


@pytest.mark.parametrize("identifier", ["0", "999", "nonsense", "", "-1", "1.5"])
def test_what_is_no_node_is_refused(identifier, campaign):
    from aiida_argonaut.provenance_db.queries import NotACampaign, load_campaign

    with pytest.raises(NotACampaign, match="no such node"):
        load_campaign(identifier)


def test_a_campaign_is_found_by_pk_and_uuid_and_other_nodes_are_named(campaign, process):
    from aiida_argonaut.provenance_db.queries import NotACampaign, load_campaign

    assert load_campaign(campaign.pk).pk == load_campaign(str(campaign.pk)).pk == load_campaign(campaign.uuid).pk
    iteration = process("IterationWorkChain", campaign, "iteration_00")
    with pytest.raises(NotACampaign, match="is a IterationWorkChain"):
        load_campaign(iteration.pk)
    with pytest.raises(NotACampaign, match="is a Dict"):
        load_campaign(campaign.inputs.settings.pk)


def test_an_end_is_told_in_words(campaign, process):
    from aiida_argonaut.workflows.endings import told_end

    excepted = process("TrainCalculation", campaign, "member_00", state="excepted")
    excepted.set_exception("MemoryError: too large")
    assert told_end(process("TrainCalculation", status=300)).startswith("TrainCalculation ended 300")
    assert told_end(excepted) == "TrainCalculation excepted: MemoryError: too large"
    assert told_end(process("TrainCalculation", state="killed")) == "TrainCalculation was killed"
