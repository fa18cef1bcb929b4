"""Limits are compared with what the record holds, over all parts of a campaign that was resumed."""

import pytest

NO_LIMIT = {"labels": None, "core_hours": None, "wall_hours": None, "lost_share": None, "lost_after": 2}


@pytest.fixture
def begin(process):
    """begin(budget, continues): a campaign, or one that continues another."""
    from aiida import orm

    def made(budget, continues=None):
        stop, select = {"iterations": 3}, {"count": 3}
        settings = {"budget": {**NO_LIMIT, **budget}, "stop": stop, "select": select, "generate": {"seed_set": 4}}
        inputs = {"settings": orm.Dict(settings).store(), "seed": orm.Int(1).store()}
        if continues is not None:
            inputs["resumption"] = orm.Dict({"campaign": continues.uuid, "changes": {}}).store()
        return process("CampaignWorkChain", state="running", inputs=inputs)

    return made


@pytest.fixture
def labelled(process):
    """labelled(campaign, number, ok, reasons): an iteration whose labels ended like this."""
    from aiida import orm
    from aiida.common.links import LinkType

    def made(campaign, number, ok, reasons=()):
        iteration = process("IterationWorkChain", campaign, f"iteration_{number:02d}")
        label = process("LabelWorkChain", iteration, "label", state="running")
        lost = [{"configuration_id": f"c{k}", "reason": reason} for k, reason in enumerate(reasons)]
        losses = orm.Dict({"submitted": ok + len(lost), "ok": ok, "lost": lost}).store()
        losses.base.links.add_incoming(label, LinkType.RETURN, "losses")
        return label

    return made


def test_no_limit_is_no_limit(begin, labelled):
    from aiida_argonaut.workflows.budget import limit_reached, too_many_labels

    campaign = begin({})
    labelled(campaign, 0, 1, ["calculator_failed"] * 9)
    assert limit_reached(campaign) is None
    assert too_many_labels(campaign, campaign.inputs.settings.get_dict(), 1, True, 10**6) is None


def test_labels_of_all_parts_count_and_repeated_iterations_once(begin, labelled):
    from aiida_argonaut.provenance_db.queries import chain, labels_spent
    from aiida_argonaut.workflows.budget import limit_reached, too_many_labels

    first = begin({"labels": 10})
    labelled(first, 0, 4, ["scf_not_converged"])
    labelled(first, 1, 1, ["not_submitted", "not_submitted"])
    second = begin({"labels": 9}, continues=first)
    labelled(second, 1, 2, ["force_cap"])
    assert [part.pk for part in chain(first)] == [first.pk, second.pk] == [part.pk for part in chain(second)]
    assert labels_spent(chain(second)) == (5 + 3, 2)
    assert limit_reached(second) is None
    settings = second.inputs.settings.get_dict()
    assert too_many_labels(second, settings, 2, True, 0).reason.startswith("1 of 9 labels are left")
    assert "would ask for 4" in too_many_labels(second, settings, 2, False, 0).reason
    assert too_many_labels(second, settings, 1, True, 0) is None, "an iteration begun again takes its labels over"
    assert too_many_labels(second, settings, 1, True, 2).reason.startswith("4 of 9 labels are left")


def test_the_share_of_lost_labels_counts_after_a_while(begin, labelled):
    from aiida_argonaut.workflows.budget import limit_of, limit_reached

    campaign = begin({"lost_share": 0.25, "lost_after": 4})
    labelled(campaign, 0, 1, ["cholesky", "not_submitted"])
    assert limit_reached(campaign) is None, "two labels say nothing yet"
    labelled(campaign, 1, 2)
    assert limit_reached(campaign) is None, "a share of a quarter is allowed"
    label = labelled(campaign, 2, 0, ["cholesky"])
    assert limit_reached(campaign).key == "lost_share"
    assert "2 of 5 labels are lost" in limit_of(label)


def test_time_counts_from_the_beginning_of_the_first_part(begin, monkeypatch):
    from aiida_argonaut.workflows import budget

    first = begin({"wall_hours": 1})
    second = begin({"wall_hours": 1}, continues=first)
    monkeypatch.setattr(budget, "seconds", lambda node: 1700.0)
    assert budget.limit_reached(second) is None
    monkeypatch.setattr(budget, "seconds", lambda node: 1900.0)
    assert budget.limit_reached(second).key == "wall_hours"
    assert "1.06 of 1 hours" in budget.limit_reached(first).reason


def test_a_process_without_a_campaign_has_no_limit(process):
    from aiida_argonaut.workflows.budget import limit_of

    assert limit_of(process("LabelPwWorkChain", state="running")) is None


def test_of_two_continuations_the_older_counts(begin):
    from aiida_argonaut.provenance_db.queries import chain

    first = begin({})
    second, _ = begin({}, continues=first), begin({}, continues=first)
    third = begin({}, continues=second)
    assert [part.pk for part in chain(first)] == [first.pk, second.pk, third.pk]
