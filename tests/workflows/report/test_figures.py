"""The numbers behind the figures: known cases, and counts that add up."""

import numpy as np
import pytest

from aiida_argonaut.mlip.fresh import errors
from aiida_argonaut.workflows.report import coverage, decisions, effort, headline, losses, quality, trust


def test_arms_share_the_labels_and_their_errors_make_the_whole(whole):
    for batch in whole().fresh:
        assert sum(len(batch.of(arm)) for arm in quality.arms_of([batch])) == len(batch.labels)
        for quantity, (_, _, key) in quality.QUANTITIES.items():
            rows = np.concatenate(
                [quality.squares(batch, batch.of(arm), quantity) for arm in quality.arms_of([batch])]
            ).sum(axis=0)
            assert np.sqrt(rows[0] / rows[1]) == pytest.approx(errors(batch.labels, batch.predictions)[key])


def test_an_interval_holds_the_error_and_shrinks_with_more_frames(frames, fresh):
    lengths = []
    for count in (6, 200):
        batch = fresh(1, 6, frames(count))
        rows = quality.squares(batch, batch.labels, "forces")
        low, high = quality.interval(rows)
        assert low < np.sqrt(rows[:, 0].sum() / rows[:, 1].sum()) < high
        lengths.append(high - low)
    assert lengths[1] < 0.5 * lengths[0]


def test_a_deviation_that_told_the_whole_error_would_lie_on_the_expected_curve():
    draw = np.random.default_rng(0)
    deviation = draw.uniform(0.1, 1.0, 20000)
    error = np.linalg.norm(draw.normal(size=(20000, 3)) * deviation[:, None] / np.sqrt(3), axis=1)
    values = np.stack([deviation, error], axis=1)
    for multiple in (0.5, 1.0, 2.0):
        assert trust.below(values, multiple) == pytest.approx(trust.expected_below(multiple), abs=0.02)


def test_the_running_median_follows_a_rule_and_forgets_an_outlier():
    deviation = np.linspace(0.1, 1.0, 80)
    values = np.stack([deviation, 3 * deviation], axis=1)
    values[40, 1] = 1e6
    median = trust.running_median(values)
    assert len(median) == 8
    assert median[:, 1] == pytest.approx(3 * median[:, 0], rel=0.05)
    assert len(trust.running_median(values[:5])) == 1


def test_words_on_the_deviation_follow_the_numbers(whole, frames, fresh):
    import dataclasses

    sure = fresh(1, 6, frames(40), error=1.0, deviation=0.05)
    unsure = fresh(1, 6, frames(40), error=0.01, deviation=5.0)
    assert "overconfident" in " ".join(trust.verdict(dataclasses.replace(whole(), fresh=[sure])))
    assert "cautious" in " ".join(trust.verdict(dataclasses.replace(whole(), fresh=[unsure])))


def test_pairs_are_counted_once_per_frame(frames):
    from aiida_argonaut.mlip.frames import Configuration, LabelledFrame

    cell = 5 * np.eye(3)
    water = Configuration([1, 1, 8], [[0, 0, 0], [0, 0, 1], [0, 1, 0]], cell)
    counts = coverage.pair_counts([LabelledFrame(water, 0.0, np.zeros((3, 3)), None, "p")] * 2)
    assert (counts[1, 8], counts[8, 1], counts[1, 1], counts[8, 8], counts.sum()) == (2, 2, 2, 2, 8)


def test_near_duplicates_are_found(whole, frames):
    import dataclasses

    from aiida_argonaut.mlip.frames import Configuration, LabelledFrame

    one = frames(1)[0]
    moved = Configuration(one.configuration.numbers, one.configuration.positions + 0.5, one.configuration.cell)
    twins = [one, LabelledFrame(moved, one.energy, one.forces, None, "p1")]
    told = dict(coverage.likeness(dataclasses.replace(whole(), frames=twins)))
    assert told["frames"] == "2"
    assert told["different compositions"] == "1"
    assert next(count for what, count in told.items() if what.startswith("near duplicates")) == "1"


def test_fitted_atoms_take_off_what_depends_on_the_elements_alone(whole, frames):
    import dataclasses

    from aiida_argonaut.mlip.frames import LabelledFrame

    labels = [
        LabelledFrame(f.configuration, float(10 * f.configuration.numbers.sum()), f.forces, None, "p1")
        for f in frames(20)
    ]
    references = quality.atomic_references(dataclasses.replace(whole(), frames=labels))
    assert references[1:5] == pytest.approx([10, 20, 30, 40])


def test_the_account_adds_up_and_names_every_loss(whole):
    account = losses.account(whole())
    assert account.adds_up
    assert sum(reason.count for reason in account.reasons) == len(account.losses) == account.lost == 1
    assert account.reasons[0].share == f"{1 / 18:.1%}"


def test_an_account_that_lost_a_label_silently_says_so(story, iteration):
    labels = {"submitted": 9, "ok": 5, "lost": [], "reasons": {}}
    assert not losses.account(story([iteration(0, 5, labels=labels)])).adds_up


def test_rescued_labels_have_a_column_and_tables_by_source_and_element(story, iteration):
    labels = {
        "submitted": 5, "ok": 3, "rescued": {"local-TF": 1}, "reasons": {"force_cap": 1},
        "lost": [{"reason": "force_cap", "formula": "BeH2", "source": "packing"}],
        "sources": {"packing": [4, 3, 0, 1], "dimers": [1, 0, 1, 0]},
        "elements": {"H": [5, 3, 1, 1], "Be": [2, 1, 0, 1]},
    }  # fmt: skip
    told = story([iteration(0, 4, labels=labels)])
    account = losses.account(told)
    assert account.line == "5 submitted = 3 ok + 1 rescued + 1 lost"
    assert account.adds_up
    assert account.rows == (("seed set", 5, 3, 1, 1, 0),)
    assert account.rungs == (("local-TF", 1),)
    assert account.sources == (("packing", 4, 3, 0, 1, "force_cap 1"), ("dimers", 1, 0, 1, 0, ""))
    assert account.elements == (("H", 5, 3, 1, 1, "force_cap 1"), ("Be", 2, 1, 0, 1, "force_cap 1"))
    assert headline.key_figures(told)[0] == ("4", "of 5", "labels are good, 1 of them rescued; 1 lost")
    (entry,) = [line for each in decisions.decisions(told) for line in each.lines if line[0] == "labelled"]
    assert entry[1] == "5 submitted: 3 good, 1 rescued (1 by local-TF), 1 lost (1 force_cap)."


def test_cached_jobs_cost_nothing_and_a_budget_is_compared_with_what_is_spent(whole):
    budget = {"labels": 36, "core_hours": 4.0, "wall_hours": None, "lost_share": 0.5}
    told = whole(
        summary={"budget": budget, "spent": {"labels": 18, "core_hours": 1.0, "wall_hours": 2, "lost_share": 0}}
    )
    assert effort.spent_per_stage(told) == {"label": 1.0}
    rows = {row[0]: row[1:] for row in effort.budget_rows(told)}
    assert rows["labels"] == ["18", "36", "50%"]
    assert rows["core-hours"] == ["1", "4", "25%"]
    assert "hours of wall time" not in rows


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ({"iterations": 2, "force_rmse": 0.2}, "Stopped, good enough: forces on fresh labels 167 meV/Å, target 200."),
        ({"iterations": 2, "force_rmse": 0.1}, "Stopped: all 2 iterations after the seed set were done; forces"),
        ({"iterations": 2, "force_rmse": None}, "Stopped: all 2 iterations after the seed set were done."),
    ],
)
def test_why_a_campaign_stopped(stop, expected, whole):
    told = whole(settings={"stop": stop})
    assert decisions.what_followed(told, 2).startswith(expected)
    assert decisions.what_followed(told, 1).startswith("Went on")


def test_every_iteration_tells_what_was_decided(whole):
    told = decisions.decisions(whole(repeated={102: {"label": 3}}, explored={102: {"fs": 2500.0, "pool": 34}}))
    topics = [dict(each.lines) for each in told]
    assert set(topics[0]) == {"generated", "labelled", "trained", "errors", "next"}
    assert "2.5 ps" in topics[2]["explored"]
    assert "3 labels" in topics[2]["tried again"]
    assert "1 lost (1 force_cap)" in topics[2]["labelled"]


@pytest.mark.parametrize("limits", [(3.3, 4.8), (0.99, 1.01), (1e-4, 1e5), (14, 38), (0.2, 20), (1e-9, 2e-9)])
def test_a_logarithmic_axis_has_a_few_plain_numbers_inside_its_limits(limits):
    from matplotlib.figure import Figure

    from aiida_argonaut.workflows.report.canvas import log_axis

    axes = Figure().subplots()
    log_axis(axes.yaxis, *limits)
    ticks = axes.yaxis.get_majorticklocs()
    assert 2 <= len(ticks) <= 6
    assert all(limits[0] <= tick <= limits[1] for tick in ticks)
