"""Coverage: counts that a slow count by hand confirms, merging that changes nothing, and gaps that are told."""

import itertools
import json

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from aiida_argonaut.mlip.coverage import counts as module
from aiida_argonaut.mlip.coverage.counts import QUANTITIES, Coverage
from aiida_argonaut.mlip.coverage.gaps import missing
from aiida_argonaut.mlip.coverage.pair_ratios import CONTACT, PAIRS, SPHERES, SYMBOLS, pair_ratios
from aiida_argonaut.mlip.coverage.plot import draw_coverage
from aiida_argonaut.mlip.frames import Configuration, FrameError, Origin
from aiida_argonaut.mlip.sanity import RADII, distance_ratio


def configurations(n, seed=0, isolated=0):
    """Random cells of three sources, skewed ones too; the last `isolated` are not periodic."""
    random = np.random.default_rng(seed)
    made = []
    for k in range(n):
        atoms = int(random.integers(1, 8))
        numbers = random.choice(random.integers(1, 19, 3), atoms)
        cell = random.uniform(2.5, 6) * np.eye(3) + random.uniform(-1, 1, (3, 3))
        origin = Origin(("packing", "dynamics", "user")[k % 3], str(k))
        if k >= n - isolated:
            made.append(
                Configuration(numbers, random.uniform(0, 5, (atoms, 3)), np.zeros((3, 3)), (False,) * 3, origin)
            )
        else:
            made.append(Configuration(numbers, random.uniform(-9, 9, (atoms, 3)), cell, origin=origin))
    return made


def counted(frames):
    found = Coverage()
    for frame in frames:
        found.add(frame)
    return found


@pytest.mark.parametrize("frame", configurations(60, isolated=15), ids=lambda frame: frame.origin.seed)
def test_ratios_of_pairs_are_those_of_a_neighbour_list(frame):
    expected = np.full(len(PAIRS), np.inf)
    i, j, d = neighbor_list("ijd", frame.to_atoms(), 2 * CONTACT * SPHERES.max())
    for a, b, distance in zip(frame.numbers[i], frame.numbers[j], d, strict=True):
        if distance < CONTACT * (SPHERES[a] + SPHERES[b]):
            row = PAIRS.index((min(a, b), max(a, b)))
            expected[row] = min(expected[row], distance / (RADII[a] + RADII[b]))
    np.testing.assert_allclose(pair_ratios(frame), expected, rtol=1e-12)
    if distance_ratio(frame) <= CONTACT:
        assert pair_ratios(frame).min() == pytest.approx(distance_ratio(frame), rel=1e-12)


def test_counts_of_elements_and_pairs():
    frames = configurations(200, 1, isolated=20)
    total = counted(frames).total.document()
    assert (total["frames"], total["isolated"], total["atoms"]) == (200, 20, sum(map(len, frames)))
    for z, symbol in enumerate(SYMBOLS, start=1):
        atoms = [int((frame.numbers == z).sum()) for frame in frames]
        others = [max(np.bincount(np.append(frame.numbers[frame.numbers != z], 0))[1:], default=0) for frame in frames]
        leads = sum(own > other for own, other in zip(atoms, others, strict=True))
        assert total["elements"][symbol] == {"frames": sum(map(bool, atoms)), "atoms": sum(atoms), "leads": leads}
    for a, b in PAIRS:
        together = [
            sorted((a, b)) in map(sorted, itertools.combinations(frame.numbers.tolist(), 2)) for frame in frames
        ]
        assert total["pairs"][f"{SYMBOLS[a - 1]}-{SYMBOLS[b - 1]}"]["together"] == sum(together)


def test_distributions_hold_every_frame_once_and_quantiles_lie_in_their_bins():
    frames = configurations(300, 2, isolated=30)
    total = counted(frames).total
    for name in QUANTITIES:
        each = 3 if name == "angles" else 1
        expected = 300 if name in ("atoms", "species", "ratio") else 270 * each
        assert total.counts[name].sum() == expected
    volumes = np.array([frame.volume / len(frame) for frame in frames if frame.periodic])
    edges = QUANTITIES["volume"].edges
    assert total.counts["volume"][1:-1].tolist() == np.histogram(volumes, edges)[0].tolist()
    assert total.extremes["volume"] == (volumes.min(), volumes.max())
    for share in (0.05, 0.5, 0.95):
        assert total.quantile("volume", share) == pytest.approx(np.quantile(volumes, share), rel=0.25)
    cells = [frame.to_atoms().cell.cellpar()[3:] for frame in frames if frame.periodic]
    expected = np.histogram(np.round(cells, 6), QUANTITIES["angles"].edges)[0]
    assert total.counts["angles"][1:-1].tolist() == expected.tolist()


def test_a_pair_far_apart_is_beyond_reach():
    far = Configuration([18, 18], [[0, 0, 0], [9, 0, 0]], np.zeros((3, 3)), (False,) * 3)
    total = counted([far]).total
    assert total.counts["ratio"][-1] == 1
    assert total.quantile("ratio", 0.5) is None
    assert total.counts["pairs_in_contact"].sum() == 0
    near = Configuration([18, 18], [[0, 0, 0], [2.5, 0, 0]], np.zeros((3, 3)), (False,) * 3)
    total = counted([far, far, near]).total
    assert total.quantile("ratio", 0.9) == np.inf
    assert total.document()["pairs"]["Ar-Ar"] == {"together": 3, "contact": 1, "nearest": round(2.5 / 2.12, 6)}


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_merged_parts_are_the_whole(parts):
    frames = configurations(140, 3, isolated=9)
    merged = Coverage()
    for k in range(parts):
        merged.merge(counted(frames[k::parts]))
    assert json.dumps(merged.document()) == json.dumps(counted(frames).document())


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_FORMULAS", 5)
    monkeypatch.setattr(module, "MOST_SOURCES", 3)
    cell = 4 * np.eye(3)
    frames = [Configuration([1] * (k + 1) + [2], np.arange(3 * k + 6).reshape(-1, 3), cell, origin=Origin(f"s{k}"))
              for k in range(9)]  # fmt: skip
    found = counted(frames)
    found.merge(counted(frames))
    document = found.document()
    assert (document["reduced_formulas"], document["reduced_formulas_exact"]) == (5, False)
    assert list(document["sources"]) == ["(other sources)", "s0", "s1", "s2"]
    assert document["sources"]["(other sources)"]["frames"] == 12
    assert document["total"]["frames"] == 18


def test_formulas_are_reduced():
    one, two = ([1, 8], [1, 8, 8, 1])
    frames = [
        Configuration(numbers, np.arange(3.0 * len(numbers)).reshape(-1, 3), 9 * np.eye(3)) for numbers in (one, two)
    ]
    assert counted(frames).document()["reduced_formulas"] == 1
    assert counted(frames).document()["chemical_systems"] == 1


def test_an_element_outside_is_refused():
    with pytest.raises(FrameError, match="outside H-Ar"):
        Coverage().add(Configuration([19], [[0, 0, 0]], 5 * np.eye(3)))


def test_what_is_missing_is_told():
    helium = [
        Configuration([2, 2], [[0, 0, 0], [1.0, 0, 0]], size * np.eye(3), origin=Origin("packing")) for size in (3, 4)
    ]
    told = missing(counted([*helium, Configuration([3], [[0, 0, 0]], 6 * np.eye(3))]), ("packing", "fluids"))
    text = "\n".join(told)
    assert "elements in no frame: H, Be, B, C, N, O, F, Ne, Na, Mg, Al, Si, P, S, Cl, Ar" in told
    assert "pairs in no cell together: 170 of 171, 2 of them of elements that are there: He-Li, Li-Li" in told
    assert "atoms per cell: no frames at 3-24 (looked at 1 to 24)" in told
    assert "sources without frames: fluids" in told
    assert "volume per atom: no frames at 3.16-12.1, 14.7-31.6, 38.3-56.2 Å^3" in text


def test_isolated_frames_alone_have_no_density():
    told = missing(counted(configurations(4, isolated=4)))
    assert "no periodic frames: density and shape of the cell are not counted" in told
    assert not any(gap.startswith("volume per atom") for gap in told)


def test_nothing_is_missing_where_all_is_there():
    found = Coverage()
    found.add(Configuration([1, 1], [[0, 0, 0], [0.7, 0, 0]], 3 * np.eye(3), origin=Origin("packing")))
    tally = found.sources["packing"]
    for name in tally.counts:
        tally.counts[name] += 1
    assert missing(found, ("packing",)) == []


@pytest.mark.parametrize(("sources", "bars"), [(1, 1), (18, 18), (25, 19)])
def test_the_picture_has_a_bar_per_source_and_stacks_every_frame(tmp_path, sources, bars):
    found = Coverage()
    for k, frame in enumerate(configurations(150, 5, isolated=5)):
        found.add(Configuration(frame.numbers, frame.positions, frame.cell, frame.pbc, Origin(f"source {k % sources}")))
    figure = draw_coverage(found)
    panels = {axes.get_xlabel() or axes.get_title(): axes for axes in figure.axes}
    assert len(figure.axes[1].patches) == bars
    heights = sum(patch.get_height() for patch in panels["atoms per cell"].patches)
    assert heights == 150
    figure.savefig(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 10_000


def test_the_picture_of_isolated_frames_alone(tmp_path):
    draw_coverage(counted(configurations(3, isolated=3))).savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").is_file()
