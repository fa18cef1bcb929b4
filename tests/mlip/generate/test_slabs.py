"""Slabs: cut from the crystal as it is, in cells that fit, adsorbates in contact."""

import numpy as np
import pytest
from ase.build import molecule
from ase.collections import g2
from ase.data import atomic_numbers
from scipy.stats import kstest

from aiida_argonaut.mlip.frames import read_atoms, write_atoms
from aiida_argonaut.mlip.generate import slabs as module
from aiida_argonaut.mlip.generate.draw import Draw, GenerationError
from aiida_argonaut.mlip.generate.slabs import SlabsSettings, slabs
from aiida_argonaut.mlip.sanity import RADII, distance_ratio
from aiida_argonaut.mlip.settings import SettingsError, settings_from_mapping

SKEWED = np.array([[2.9, 0.0, 0.0], [0.8, 3.3, 0.0], [-0.6, 1.1, 3.6]])
"""Å, a cell without any symmetry, of one Mg and one O."""
PLACES = np.array([[0.0, 0.0, 0.0], [0.47, 0.56, 0.41]]) @ SKEWED


def settings(**keys):
    return settings_from_mapping(SlabsSettings, keys, "recipe")


def make(which, index, seed=7):
    return slabs(which, Draw("ab12", seed, index, 0, index))


@pytest.fixture(scope="module")
def batch():
    return [make(settings(), index) for index in range(500)]


@pytest.fixture(params=[1, -1], ids=["right-handed", "left-handed"])
def skewed(request, monkeypatch):
    crystal = ("skewed", np.array([12, 8]), request.param * PLACES, request.param * SKEWED)
    monkeypatch.setattr(module, "decorated", lambda prototype, draw, rng: crystal)


def lateral_distances(configuration, first, second):
    """(n, m, images) Å between two sets of atoms, over images along the surface."""
    a, b, _ = configuration.cell
    shifts = np.array([i * a + j * b for i in range(-4, 5) for j in range(-4, 5)])
    difference = configuration.positions[first][:, None] - configuration.positions[second][None]
    return np.linalg.norm(difference[:, :, None] + shifts, axis=-1)


def test_any_order_gives_the_same_bits(batch):
    for index in (433, 5, 0, 60):
        configuration, figures = make(settings(), index)
        assert configuration.configuration_id == batch[index][0].configuration_id
        assert figures == batch[index][1]
        assert (configuration.origin.source, configuration.origin.seed) == ("slabs", f"7/{index}")
    assert make(settings(), 5, seed=8)[0].configuration_id != batch[5][0].configuration_id
    assert len({configuration.configuration_id for configuration, _ in batch}) == len(batch)


def test_limits_are_kept(batch):
    for configuration, _ in batch:
        assert len(configuration) <= 16
        assert configuration.volume <= 500 + 1e-4
        assert distance_ratio(configuration) >= 0.6
        cell = configuration.cell
        assert not cell[:2, 2].any()
        assert not cell[2, :2].any()
        assert np.linalg.det(cell) > 0
    assert np.mean([configuration.volume for configuration, _ in batch]) < 400


def test_every_element_occurs_often(batch):
    present = np.array([[z in configuration.numbers for z in range(1, 19)] for configuration, _ in batch])
    assert present.mean(axis=0).min() > 0.05


def test_planes():
    assert len(module._planes(1)) == 13
    assert len(module._planes(2)) == 49
    assert len({tuple(sorted([p, tuple(-i for i in p)])) for p in module._planes(2)}) == 49


def test_a_slab_is_a_piece_of_the_crystal(skewed):
    perfect = settings(rattle=[0, 0], adsorbate_share=0)
    steps = np.array([(i, j, k) for i in range(-9, 10) for j in range(-9, 10) for k in range(-9, 10)]) @ SKEWED
    between = {
        (z, y): np.sort(np.linalg.norm(steps + PLACES[[12, 8].index(z)] - PLACES[[12, 8].index(y)], axis=1))
        for z in (12, 8)
        for y in (12, 8)
    }
    for index in range(40):
        configuration, _ = make(perfect, index)
        distances = lateral_distances(configuration, slice(None), slice(None))
        for i, z in enumerate(configuration.numbers.tolist()):
            for j, y in enumerate(configuration.numbers.tolist()):
                found = np.sort(distances[i, j])[:6]
                assert np.abs(between[z, y][:, None] - found).min(axis=0).max() < 1e-5


def test_no_atom_is_missing_between_bottom_and_top(skewed):
    perfect = settings(rattle=[0, 0], adsorbate_share=0, maximum_repeats=1, thickness=[2, 8])
    for index in range(80):
        configuration, _ = make(perfect, index)
        spacing = np.linalg.det(SKEWED) / np.linalg.norm(np.cross(*configuration.cell[:2]))
        heights = configuration.positions[:, 2]
        for z in (12, 8):
            own = np.sort(heights[configuration.numbers == z])
            np.testing.assert_allclose(np.diff(own), spacing, atol=1e-6)
            if len(own):
                assert own[0] - heights.min() < spacing + 1e-6
                assert heights.max() - own[-1] < spacing + 1e-6


def test_surface_cell_and_vacuum_are_those_of_the_plane(skewed):
    perfect = settings(rattle=[0, 0], adsorbate_share=0)
    normals = np.linalg.inv(SKEWED).T
    planes = {"(" + "".join(map(str, plane)) + ")": plane for plane in module._planes(2)}
    gaps, supercells = [], set()
    for index in range(150):
        configuration, figures = make(perfect, index)
        a, b, c = configuration.cell
        p, q = map(int, figures["supercell"].split("x"))
        primitive = np.linalg.det(SKEWED) * np.linalg.norm(np.array(planes[figures["miller"]]) @ normals)
        assert np.linalg.norm(np.cross(a, b)) == pytest.approx(p * q * primitive, rel=1e-6)
        heights = configuration.positions[:, 2]
        gaps.append(c[2] - np.ptp(heights))
        assert heights.min() >= 0
        assert heights.max() <= c[2]
        assert heights.min() == pytest.approx(c[2] - heights.max(), abs=1e-6)
        supercells.add((p, q))
    assert min(gaps) >= 4 - 1e-6
    assert max(gaps) <= 8 + 1e-6
    assert {(1, 1), (1, 2), (2, 1)} <= supercells
    assert len({make(perfect, index)[1]["miller"] for index in range(150)}) > 20


def test_simple_cubic_layers(monkeypatch):
    crystal = ("cube", np.array([14]), np.zeros((1, 3)), np.eye(3) * 2.5)
    monkeypatch.setattr(module, "decorated", lambda prototype, draw, rng: crystal)
    perfect = settings(rattle=[0, 0], adsorbate_share=0, maximum_repeats=1)
    spacings = {"(100)": 2.5, "(110)": 2.5 / np.sqrt(2), "(111)": 2.5 / np.sqrt(3), "(210)": 2.5 / np.sqrt(5)}
    seen, thicknesses = set(), set()
    for index in range(200):
        configuration, figures = make(perfect, index)
        if figures["miller"] in spacings and len(configuration) > 1:
            steps = np.diff(np.sort(configuration.positions[:, 2]))
            np.testing.assert_allclose(steps, spacings[figures["miller"]], atol=1e-6)
            seen.add(figures["miller"])
            thicknesses.add(len(configuration))
    assert seen == set(spacings)
    assert len(thicknesses) > 2


def test_terminations_vary(skewed):
    perfect = settings(rattle=[0, 0], adsorbate_share=0, maximum_index=1, maximum_repeats=1)
    tops, bottoms = set(), set()
    for index in range(120):
        configuration, figures = make(perfect, index)
        if figures["miller"] == "(001)":
            heights = configuration.positions[:, 2]
            tops.add(int(configuration.numbers[heights.argmax()]))
            bottoms.add(int(configuration.numbers[heights.argmin()]))
    assert tops == bottoms == {8, 12}


def test_rattle_is_what_is_said(monkeypatch):
    crystal = ("cube", np.array([14]), np.zeros((1, 3)), np.eye(3) * 3.0)
    monkeypatch.setattr(module, "decorated", lambda prototype, draw, rng: crystal)
    rattled = settings(rattle=[0.08, 0.08], adsorbate_share=0, maximum_index=1, thickness=[5, 5])
    offsets = []
    for index in range(400):
        configuration, figures = make(rattled, index)
        if figures["miller"] in ("(100)", "(010)", "(001)") and len(configuration) > 1:
            step = configuration.positions[1, 2] - configuration.positions[0, 2]
            offsets.append(step - 3.0 * np.round(step / 3.0))
    assert len(offsets) > 60
    assert np.std(offsets) == pytest.approx(np.sqrt(2) * 0.08, rel=0.25)
    drawn = [figures["rattle"] for _, figures in (make(settings(adsorbate_share=0), index) for index in range(300))]
    assert kstest(drawn, "uniform", (0, 0.15)).pvalue > 0.01


def test_adsorbates_are_in_contact(skewed):
    covered = settings(rattle=[0, 0], adsorbate_share=1)
    ratios, heights = [], []
    for index in range(150):
        configuration, figures = make(covered, index)
        n = len(molecule(figures["adsorbate"])) if figures["adsorbate"] in g2.names else 1
        slab, adsorbate = slice(None, -n), slice(-n, None)
        contact = RADII[configuration.numbers[adsorbate]][:, None] + RADII[configuration.numbers[slab]]
        nearest = lateral_distances(configuration, adsorbate, slab).min(axis=-1) / contact
        if distance_ratio(configuration, reach=2.0) > 0.62:  # else atoms were pushed apart
            assert nearest.min() == pytest.approx(figures["adsorbate_ratio"], abs=1e-5)
            ratios.append(figures["adsorbate_ratio"])
        top, bottom = configuration.positions[slab, 2].max(), configuration.positions[adsorbate, 2].min()
        heights.append(bottom - top)
    assert len(ratios) > 100
    assert 0.8 <= min(ratios) < 0.9
    assert 1.5 < max(ratios) <= 1.6
    assert max(heights) > 2


def test_adsorbates_take_turns(batch):
    adsorbates = [figures["adsorbate"] for _, figures in batch if "adsorbate" in figures]
    assert len(adsorbates) == 200
    for start in range(0, 180, 18):
        present = set()
        for name in adsorbates[start : start + 18]:
            present.update(molecule(name).numbers if name in g2.names else [atomic_numbers[name.removesuffix("-atom")]])
        assert present == set(range(1, 19))
    assert all(len(molecule(name)) <= 4 for name in adsorbates if name in g2.names)


def test_elements_are_those_of_the_prototypes():
    few = settings(prototype={"elements": ["Na", "Cl"]})
    assert few.elements == ["Na", "Cl"]
    assert settings().elements == "all"
    for index in range(20):
        assert set(make(few, index)[0].numbers) <= {11, 17}


def test_never_endless():
    with pytest.raises(GenerationError, match="index 3: no slab of 16 atoms and 10 Å\\^3 or less found in 2 crystals"):
        make(settings(maximum_volume=10, maximum_attempts=2, adsorbate_share=0), 3)


def test_figures_survive_a_file(batch, tmp_path):
    made = []
    for configuration, figures in batch:
        made.append(configuration.to_atoms())
        made[-1].info.update(figures)
    write_atoms(tmp_path / "slabs.extxyz", made)
    for atoms, (_, figures) in zip(read_atoms(tmp_path / "slabs.extxyz"), batch, strict=True):
        assert {key: atoms.info[key] for key in figures} == figures


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"prototype": {"elements": ["K"]}}, r"elements \['K'\]"),
        ({"prototype": {"perturb": {"rattle": [0.01, 0.01]}}}, "prototype: perturb has no effect on slabs"),
        ({"maximum_index": 0}, "maximum_index 0"),
        ({"maximum_index": 5}, "maximum_index 5: expected a number above 0, 4 at most"),
        ({"thickness": [3, 1]}, r"thickness \[3, 1\]"),
        ({"vacuum": [1, 4]}, r"vacuum \[1, 4\]: expected .* 2 <= lowest"),
        ({"maximum_repeats": 0}, "maximum_repeats 0"),
        ({"rattle": [-1, 0]}, r"rattle \[-1, 0\]"),
        ({"adsorbate_share": 1.1}, "adsorbate_share 1.1: expected 0 to 1"),
        ({"maximum_adsorbate_atoms": 0}, "maximum_adsorbate_atoms 0"),
        ({"adsorbate_ratio": [0.5, 1]}, r"adsorbate_ratio \[0.5, 1\]: expected .* 0.6 <= lowest"),
        ({"minimum_distance_ratio": 0.4}, "minimum_distance_ratio 0.4: expected 0.5 or more"),
        ({"maximum_atoms": 4}, "maximum_atoms 4: expected more than the 4 of the largest adsorbate"),
        ({"maximum_volume": 0}, "maximum_volume 0"),
        ({"maximum_attempts": 0}, "maximum_attempts 0"),
    ],
)
def test_impossible_settings_are_refused_at_once(keys, message):
    with pytest.raises(SettingsError, match=message):
        settings(**keys)
