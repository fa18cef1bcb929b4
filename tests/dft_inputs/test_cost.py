"""The cost model counts what pw.x counts, grows as it must, and its constants are those of the results file."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aiida_argonaut.dft_inputs import cost
from aiida_argonaut.dft_inputs.cost import PseudoSize

ROOT = Path(__file__).parents[2]
PSEUDOS = {"O": PseudoSize(6.0, 8, 36), "H": PseudoSize(1.0, 2, 3)}


def size(edge=3.0, symbols=("O", "H", "H"), cutoffs=(40, 200), mesh=(2, 2, 2), spin=False, threshold=1e-8):
    return cost.label_size(edge * np.eye(3), symbols, PSEUDOS, cutoffs, mesh, spin, threshold)


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("label_cost")


@pytest.mark.parametrize(
    ("mesh", "points"),
    [((1, 1, 1), 1), ((2, 2, 2), 8), ((3, 3, 3), 14), ((2, 3, 3), 10), ((4, 1, 1), 3), ((4, 4, 4), 36)],
)
def test_k_points_that_time_reversal_leaves(mesh, points):
    """Counted one by one: k and -k are the same."""
    axes = [np.arange(n) for n in mesh]
    all_points = {tuple(int(k) for k in point) for point in np.stack(np.meshgrid(*axes), -1).reshape(-1, 3)}
    pairs = {frozenset((p, tuple(-k % n for k, n in zip(p, mesh, strict=True)))) for p in all_points}
    assert cost.irreducible(mesh) == len(pairs) == points


@pytest.mark.parametrize(("electrons", "bands"), [(1, 5), (2, 5), (8, 8), (26, 17), (35, 22), (40, 24), (60, 36)])
def test_bands_are_those_of_pw_under_smearing(electrons, bands):
    assert cost.bands(electrons) == bands


def test_plane_waves_fill_a_sphere():
    """Counted in a cubic cell: reciprocal vectors within the cutoff."""
    edge, cutoff = 10.0, 30.0
    unit = 2 * np.pi / (edge / cost.BOHR)
    n = np.arange(-25, 26)
    squares = (n[:, None, None] ** 2 + n[None, :, None] ** 2 + n[None, None, :] ** 2) * unit**2
    assert cost.volume_waves(edge**3, cutoff) == pytest.approx((squares <= cutoff).sum(), rel=0.02)


@pytest.mark.parametrize(
    "dearer",
    [
        {"edge": 4.0},
        {"cutoffs": (60, 200)},
        {"cutoffs": (40, 400)},
        {"mesh": (3, 3, 3)},
        {"spin": True},
        {"threshold": 1e-10},
        {"symbols": ("O", "O", "H")},
        {"symbols": ("O", "H", "H", "H")},
    ],
)
def test_more_of_anything_costs_more(dearer):
    assert cost.label_core_seconds(size(**dearer)) > cost.label_core_seconds(size())


def test_gamma_alone_is_cheaper_than_another_single_point():
    gamma = size(mesh=(1, 1, 1))
    assert gamma.gamma
    assert cost.label_core_seconds(gamma) < cost.label_core_seconds(replace(gamma, gamma=False))


def test_spin_doubles_the_points():
    assert size(spin=True).kpoints == 2 * size().kpoints


def test_pseudopotentials_are_read():
    beta = '<PP_BETA.{0} type="real" angular_momentum="{1}" cutoff_radius="1.3">'
    text = '<PP_HEADER pseudo_type="{}" z_valence=" 6.000E+00"/>' + "".join(beta.format(k, k // 3) for k in range(1, 5))
    assert cost.pseudo_size(text.format("PAW")) == PseudoSize(6.0, 1 + 1 + 3 + 3, 36)
    assert cost.pseudo_size(text.format("NC")).pairs == 0
    with pytest.raises(cost.CostError, match="z_valence"):
        cost.pseudo_size("nothing")


def test_scratch_holds_wave_functions_density_and_pseudopotentials():
    one = size()
    least = 16 * one.kpoints * one.bands * one.plane_waves + 28 * one.density_waves + 2 * 10**6
    assert least < cost.scratch_bytes(one, 10**6) < 1.2 * least


def test_the_constants_are_those_of_the_results(benchmark_module):
    cells = json.loads(benchmark_module.PATH.read_text())["cells"]
    used, judged = benchmark_module.fitted(cells)
    assert len(judged) >= 15
    assert not {run["formula"] + str(run["size"]) for run in used} & {
        run["formula"] + str(run["size"]) for run in judged
    }
    found = benchmark_module.fit(used)
    assert found["CONSTANTS"] == pytest.approx(cost.CONSTANTS, rel=0.01)
    assert found["STEPS_PER_DIGIT"] == cost.STEPS_PER_DIGIT
    assert found["STEPS_SPIN"] == cost.STEPS_SPIN
    low, high = np.quantile(benchmark_module.ratios(judged), (0.1, 0.9))
    assert (round(low, 2), round(high, 2)) == cost.SPREAD


def test_the_tables_of_the_page_are_what_was_measured(benchmark_module):
    cells = json.loads(benchmark_module.PATH.read_text())["cells"]
    page = (ROOT / "docs" / "prices.md").read_text()
    assert [line for line in benchmark_module.table(cells) if line not in page] == []


def test_shipped_losses_are_those_of_the_results(benchmark_module):
    from aiida_argonaut.workflows.price_labels import SHIPPED_LOSSES

    runs = []
    for path in benchmark_module.PATH.parent.glob("*.json"):
        if path.name.startswith(("dft_random_cells", "label_cost", "source_labels")):
            found = json.loads(path.read_text())
            runs += (found.get("cells") or found["labels"]).values()
    assert (sum(not run["converged"] for run in runs), len(runs)) == SHIPPED_LOSSES
