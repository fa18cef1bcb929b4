"""Selection: every frame is accounted for, one bad atom is seen, duplicates are found, the order plays no part."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aiida_argonaut.mlip.frames import Configuration, Origin
from aiida_argonaut.mlip.predictions import PredictedFrame, Prediction, read_predicted, write_predicted
from aiida_argonaut.mlip.select import VERDICTS, SelectionError, SelectionSettings, select
from aiida_argonaut.mlip.settings import SettingsError, settings_from_mapping

PLAIN = SelectionSettings(low=0.1, high=5.0, random_fraction=0.0)


def lattice(seed, n=2, z=None, spacing=2.5, noise=0.25):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3), -1).reshape(-1, 3) * spacing
    numbers = rng.integers(1, 10, len(grid)) if z is None else np.full(len(grid), z)
    return Configuration(
        numbers,
        grid + rng.normal(size=grid.shape) * noise,
        np.eye(3) * n * spacing,
        origin=Origin("packing", str(seed)),
    )


def predicted(configuration, deviation, **info):
    """Frame whose atoms all have the deviation `deviation` (a number, or one per atom)."""
    n = len(configuration)
    rng = np.random.default_rng(n)
    prediction = Prediction(-1.0 * n, 0.1, rng.normal(size=(n, 3)), None, np.broadcast_to(deviation, n) * 1.0)
    return PredictedFrame(configuration, prediction, info)


@pytest.fixture
def pool():
    """40 trajectories of 3 frames with deviations from 0.01 to 8 eV/Å."""
    rng = np.random.default_rng(1)
    return [
        predicted(lattice(100 * trajectory + step), 10 ** rng.uniform(-2, 0.9), trajectory=trajectory, step=step)
        for trajectory in range(40)
        for step in (0, 10, 20)
    ]


def test_one_bad_atom_in_a_hundred_is_selected():
    deviation = np.full(100, 0.001)
    deviation[37] = 10.0
    big = Configuration(
        np.full(100, 6), np.stack(np.unravel_index(np.arange(100), (5, 5, 4)), 1) * 2.0, np.diag([10, 10, 8.0])
    )
    crowd = [predicted(lattice(seed), 0.002) for seed in range(99)]
    for settings in (SelectionSettings(random_fraction=0.0), replace(PLAIN, low=0.5, high=20.0)):
        selection = select([*crowd, predicted(big, deviation)], 1, settings, seed=0)
        assert selection.candidates[0].configuration.configuration_id == big.configuration_id
        assert (selection.verdicts[-1].verdict, selection.verdicts[-1].arm) == ("candidate", "deviation")


def test_counts_add_up_and_every_frame_has_a_reason(pool):
    bad = predicted(lattice(1), np.nan)
    close = predicted(lattice(2, spacing=0.9, z=14), 1.0)
    thin = predicted(lattice(3, spacing=9.0), 1.0)
    twin = predicted(pool[0].configuration, 0.001)
    selection = select([*pool, bad, close, thin, twin], 20, replace(PLAIN, random_fraction=0.25), seed=3)
    assert sum(selection.counts.values()) == 124
    assert selection.counts["unphysical"] == 3
    assert selection.counts["duplicate"] == 1
    assert all(count > 0 for count in selection.counts.values())
    assert all(verdict.verdict in VERDICTS and verdict.reason for verdict in selection.verdicts)
    assert selection.arms == {"deviation": 15, "random": 5}
    assert len(selection.candidates) == 20
    document = selection.to_document()
    assert document["counts"] == selection.counts
    assert len(document["frames"]) == document["pool"] == 124
    for verdict, frame in zip(selection.verdicts, pool, strict=False):
        deviation = frame.prediction.force_deviation_max
        expected = "accurate" if deviation < 0.1 else "failed" if deviation > 5.0 else "candidate"
        assert verdict.verdict in (expected, "duplicate")


def test_arms(pool):
    selection = select(pool, 20, replace(PLAIN, random_fraction=0.25), seed=3)
    random_arm = [frame for frame in selection.candidates if frame.info["arm"] == "random"]
    deviation_arm = [frame for frame in selection.candidates if frame.info["arm"] == "deviation"]
    assert {frame.info["step"] for frame in random_arm} == {0}
    assert all(0.1 <= frame.prediction.force_deviation_max <= 5.0 for frame in deviation_arm)
    per_trajectory = Counter(frame.info["trajectory"] for frame in selection.candidates)
    assert max(per_trajectory.values()) <= 2


def test_random_arm_is_uniform_whatever_the_deviation(pool):
    settings = replace(PLAIN, random_fraction=1.0)
    drawn = [frame for seed in range(30) for frame in select(pool, 4, settings, seed).candidates]
    assert {frame.info["arm"] for frame in drawn} == {"random"}
    assert len({frame.info["trajectory"] for frame in drawn}) > 30
    logarithms = [np.log10(frame.prediction.force_deviation_max) for frame in drawn]
    expected = [np.log10(frame.prediction.force_deviation_max) for frame in pool[::3]]
    assert np.mean(logarithms) == pytest.approx(np.mean(expected), abs=0.25)


def test_rotated_shifted_and_renumbered_copies_are_one():
    original = lattice(5)
    rotation = Rotation.random(random_state=2).as_matrix()
    order = np.random.default_rng(0).permutation(len(original))
    moved = Configuration(
        original.numbers[order], (original.positions[order] + [0.3, 1.0, 7.0]) @ rotation.T, original.cell @ rotation.T
    )
    double = Configuration(
        np.tile(original.numbers, 2),
        np.vstack([original.positions, original.positions + original.cell[0]]),
        original.cell * np.array([[2], [1], [1]]),
    )
    other = lattice(6, z=6)
    frames = [predicted(c, 1.0 + k) for k, c in enumerate((original, original, moved, double, other))]
    selection = select(frames, 5, PLAIN, seed=0)
    assert selection.counts["duplicate"] == 3
    assert selection.counts["candidate"] == 2
    assert [verdict.arm for verdict in selection.verdicts] == ["", "", "", "deviation", "deviation"]  # most uncertain
    for known in (original, moved, double):
        assert select(frames, 5, PLAIN, 0, known=[known]).counts["duplicate"] == 4


def test_a_different_structure_of_the_same_composition_is_no_duplicate():
    frames = [predicted(lattice(seed, z=6), 1.0) for seed in range(10)]
    assert select(frames, 10, PLAIN, 0).counts["duplicate"] == 0


def test_selection_is_deterministic_and_free_of_pool_order(pool):
    settings = SelectionSettings(random_fraction=0.3)
    ids = [frame.configuration.configuration_id for frame in select(pool, 12, settings, 4).candidates]
    again = [frame.configuration.configuration_id for frame in select(pool, 12, settings, 4).candidates]
    backwards = [frame.configuration.configuration_id for frame in select(pool[::-1], 12, settings, 4).candidates]
    assert ids == again == backwards
    assert ids != [frame.configuration.configuration_id for frame in select(pool, 12, settings, 5).candidates]


def test_diversity_spreads_the_batch():
    crowd = [predicted(lattice(seed, z=6, noise=0.06), 1.01) for seed in range(20)]
    lone = predicted(lattice(50, z=9), 1.0)
    spread = select([*crowd, lone], 2, replace(PLAIN, near_distance=0.0), 0)
    greedy = select([*crowd, lone], 2, replace(PLAIN, near_distance=0.0, diversity_weight=0.0), 0)
    assert spread.verdicts[-1].arm == "deviation"
    assert greedy.verdicts[-1].arm == ""


def test_too_few_candidates_are_filled_with_the_most_uncertain_and_said_so():
    frames = [predicted(lattice(seed), 0.001 * (seed + 1)) for seed in range(10)] + [predicted(lattice(77), 1.0)]
    selection = select(frames, 4, replace(PLAIN, diversity_weight=0.0), 0)
    assert selection.filled == 3
    assert [frame.prediction.force_deviation_max for frame in selection.candidates] == pytest.approx(
        [1.0, 0.01, 0.009, 0.008]
    )
    assert select(frames, 40, PLAIN, 0).to_document()["reached"] == 11


def test_automatic_levels_are_quantiles_of_the_sane_frames(pool):
    bad = predicted(lattice(1), np.inf)
    selection = select([*pool, bad], 5, SelectionSettings(high_quantile=0.9), 0)
    deviations = [frame.prediction.force_deviation_max for frame in pool]
    assert selection.low == pytest.approx(np.quantile(deviations, 0.5))
    assert selection.high == pytest.approx(np.quantile(deviations, 0.9))
    assert selection.counts["failed"] == 12


def test_nothing_sane_selects_nothing():
    selection = select([predicted(lattice(1), np.nan)], 5, SelectionSettings(), 0)
    assert selection.candidates == ()
    assert selection.to_document()["thresholds"] == {"low": None, "high": None}


def test_bad_arguments():
    with pytest.raises(SelectionError, match="a pool of 0"):
        select([], 5, PLAIN, 0)
    for mapping, message in (
        ({"low": 2.0, "high": 1.0}, "0 <= low <= high"),
        ({"random_fraction": 2.0}, "expected 0 to 1"),
        ({"random_fracton": 0.1}, "did you mean 'random_fraction'"),
    ):
        with pytest.raises(SettingsError, match=message):
            settings_from_mapping(SelectionSettings, mapping, "select.yaml")


def test_candidates_survive_the_file(pool, tmp_path):
    candidates = select(pool, 6, PLAIN, 0).candidates
    write_predicted(tmp_path / "candidates.extxyz", candidates)
    back = read_predicted(tmp_path / "candidates.extxyz")
    for one, two in zip(candidates, back, strict=True):
        assert one.configuration.configuration_id == two.configuration.configuration_id
        assert one.info == two.info
        assert two.prediction.force_deviation == pytest.approx(one.prediction.force_deviation, abs=1e-8)
        assert two.prediction.forces == pytest.approx(one.prediction.forces, abs=1e-8)
