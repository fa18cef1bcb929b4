"""Dimers: every pair in every round, every distance in turn, boxes that keep images away."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from aiida_argonaut.mlip.frames import read_atoms, write_atoms
from aiida_argonaut.mlip.generate.dimers import DimersSettings, dimers
from aiida_argonaut.mlip.generate.draw import Draw
from aiida_argonaut.mlip.sanity import RADII, distance_ratio
from aiida_argonaut.mlip.settings import SettingsError, settings_from_mapping

ROUND = 171 + 54 + 18


def settings(**keys):
    return settings_from_mapping(DimersSettings, keys, "recipe")


def make(which, index, seed=7):
    return dimers(which, Draw("ab12", seed, index, 0, index))


@pytest.fixture(scope="module")
def batch():
    return [make(settings(), index) for index in range(8 * ROUND)]


def sides(configuration):
    positions = configuration.positions
    return {
        (i, j): np.linalg.norm(positions[i] - positions[j]) for i, j in itertools.combinations(range(len(positions)), 2)
    }


def test_any_order_gives_the_same_bits(batch):
    for index in (1200, 5, 0, 333):
        configuration, figures = make(settings(), index)
        assert configuration.configuration_id == batch[index][0].configuration_id
        assert figures == batch[index][1]
        assert (configuration.origin.source, configuration.origin.seed) == ("dimers", f"7/{index}")
    assert make(settings(), 5, seed=8)[0].configuration_id != batch[5][0].configuration_id
    assert len({configuration.configuration_id for configuration, _ in batch}) == len(batch)


def test_every_round_holds_every_pair_and_every_atom(batch):
    expected = Counter(itertools.combinations_with_replacement(range(1, 19), 2))
    for start in range(0, len(batch), ROUND):
        of_size = {n: Counter() for n in (1, 2, 3)}
        for configuration, figures in batch[start : start + ROUND]:
            n = len(configuration)
            assert figures["arrangement"] == ("atom", "dimer", "trimer")[n - 1]
            of_size[n][tuple(sorted(configuration.numbers.tolist()))] += 1
        assert of_size[2] == expected
        assert of_size[1] == Counter((z,) for z in range(1, 19))
        assert of_size[3].total() == 54
        present = Counter(z for species, count in of_size[3].items() for z in set(species) for _ in range(count))
        assert all(present[z] >= 1 for z in range(1, 19))


def test_each_element_leads_as_many_trimers_in_any_block_of_turns():
    few = settings(elements=["H", "Ar"], trimers=5, isolated_atoms=0)
    assert few.round_length == 13
    trimers = [c for c in (make(few, index)[0] for index in range(13)) if len(c) == 3]
    assert len(trimers) == 10
    assert sum(1 in c.numbers for c in trimers) >= 5
    assert sum(18 in c.numbers for c in trimers) >= 5


def test_distances_of_a_pair_come_from_each_stratum_once_in_eight_rounds(batch):
    places = {}
    for configuration, figures in batch:
        if len(configuration) == 2:
            contact = float(RADII[configuration.numbers].sum())
            distance = sides(configuration)[0, 1]
            assert figures["distance"] == pytest.approx(distance, abs=2e-6)
            place = np.log(distance / (0.5 * contact)) / np.log(5.0 / (0.5 * contact))
            places.setdefault(figures["species"], []).append(place)
    assert len(places) == 171
    for drawn in places.values():
        assert sorted(np.floor(np.array(drawn) * 8).astype(int)) == list(range(8))
    drawn = np.concatenate(list(places.values()))
    assert kstest(drawn, "uniform").pvalue > 0.01
    assert kstest((drawn * 8) % 1, "uniform").pvalue > 0.01


def test_strata_are_mixed_in_every_round(batch):
    for start in range(0, len(batch), ROUND):
        strata = Counter()
        for configuration, _ in batch[start : start + ROUND]:
            if len(configuration) == 2:
                shortest = 0.5 * float(RADII[configuration.numbers].sum())
                strata[int(8 * np.log(sides(configuration)[0, 1] / shortest) / np.log(5.0 / shortest))] += 1
        assert min(strata[k] for k in range(8)) >= 171 // 8
        assert max(strata.values()) <= 171 // 8 + 1


def test_no_pair_is_closer_than_the_floor(batch):
    closest = [distance_ratio(configuration, reach=1.5) for configuration, _ in batch]
    assert 0.5 <= min(closest) < 0.502


def test_sides_of_trimers_are_between_floor_and_cutoff(batch):
    lengths = []
    for configuration, figures in batch:
        if len(configuration) == 3:
            lengths.append([])
            for (i, j), side in sides(configuration).items():
                shortest = 0.5 * float(RADII[configuration.numbers[[i, j]]].sum())
                assert shortest <= side <= 4.0 + 1e-7
                lengths[-1].append(side)
            assert figures["distance"] == pytest.approx(min(lengths[-1]), abs=2e-6)
    flatness = [(sum(each) - 2 * max(each)) / max(each) for each in lengths]  # 0 for a line, 1 for equal sides
    assert min(flatness) < 0.05
    assert max(flatness) > 0.7


def test_sides_of_trimers_have_the_stated_distribution():
    carbon = settings(elements=["C"], trimers=1000, isolated_atoms=0)
    made = [make(carbon, index)[0] for index in range(carbon.round_length)]
    found = np.sort([list(sides(configuration).values()) for configuration in made if len(configuration) == 3], axis=1)
    rng = np.random.default_rng(1)
    shortest, longest = np.full(4000, 0.76), np.full(4000, 4.0)
    two = 0.76 * (4 / 0.76) ** rng.random((2, 4000))
    low, high = np.maximum(shortest, np.abs(two[0] - two[1])), np.minimum(longest, two.sum(axis=0))
    expected = np.sort([*two, low * (high / low) ** rng.random(4000)], axis=0)
    for drawn, stated in zip(found.T, expected, strict=True):
        assert ks_2samp(drawn, stated).pvalue > 0.01


def test_boxes_keep_images_away_and_have_three_edges(batch):
    for configuration, _ in batch:
        edges = np.diag(configuration.cell)
        assert np.count_nonzero(configuration.cell) == 3
        gaps = edges - np.ptp(configuration.positions, axis=0)
        assert gaps.min() >= 5.5 - 1e-7
        assert gaps.max() <= 1.12 * 6.5 + 1e-7
        assert np.diff(np.sort(edges)).min() > 0.3
    volumes = [configuration.volume for configuration, _ in batch]
    assert np.mean(volumes) < 400


def test_the_longest_side_lies_along_the_longest_edge(batch):
    angles = []
    for configuration, _ in batch:
        if len(configuration) == 2:
            side = np.abs(configuration.positions[1] - configuration.positions[0])
            angles.append(np.degrees(np.arccos(min(1.0, side[2] / np.linalg.norm(side)))))
    assert 8 < max(angles) <= 10


def test_limits_are_kept():
    narrow = settings(elements=["C"], minimum_distance_ratio=0.9, cutoff=2.0, trimer_cutoff=1.6, vacuum=[4, 4], tilt=0)
    for index in range(40):
        configuration, _ = make(narrow, index)
        assert set(configuration.numbers) == {6}
        for side in sides(configuration).values():
            assert 0.9 * 1.52 <= side <= (2.0 if len(configuration) == 2 else 1.6) + 1e-7
        assert np.diag(configuration.cell).min() == pytest.approx(4.0)


def test_figures_survive_a_file(batch, tmp_path):
    made = []
    for configuration, figures in batch[:ROUND]:
        made.append(configuration.to_atoms())
        made[-1].info.update(figures)
    write_atoms(tmp_path / "dimers.extxyz", made)
    for atoms, (_, figures) in zip(read_atoms(tmp_path / "dimers.extxyz"), batch, strict=False):
        assert {key: atoms.info[key] for key in figures} == figures


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"elements": ["K"]}, r"elements \['K'\]: expected 'all'"),
        ({"minimum_distance_ratio": 0.49}, "minimum_distance_ratio 0.49: expected 0.5 or more"),
        ({"cutoff": 1.6}, "cutoff 1.6 Å: the largest of the elements needs 1.66"),
        ({"elements": ["H"], "trimer_cutoff": 0.3}, "trimer_cutoff 0.3 Å: the largest of the elements needs 0.31"),
        ({"trimers": -1}, "trimers -1: expected 0 to"),
        ({"isolated_atoms": -2}, "isolated_atoms -2"),
        ({"strata": 0}, "strata 0: expected a number above 0"),
        ({"vacuum": [7, 5]}, r"vacuum \[7, 5\]"),
        ({"vacuum": [1, 5]}, "vacuum 1 Å: images of Na may be closer than 0.5 of their radii; expected more than 1.66"),
        ({"tilt": 91}, "tilt 91: expected 0 to 90"),
        ({"trimer": 1}, "unknown key 'trimer'"),
    ],
)
def test_impossible_settings_are_refused_at_once(keys, message):
    with pytest.raises(SettingsError, match=message):
        settings(**keys)
