"""Lattice sums against known constants, direct sums, symmetries, and their own derivatives."""

import math

import pytest
import torch

from aiida_argonaut.mlip.lattice_reach import lattice_points
from aiida_argonaut.mlip.lattice_sums import evaluate, lattice_sums, plan

TRICLINIC = torch.tensor([[4.1, 0.3, 0.2], [0.5, 3.7, -0.4], [-0.3, 0.6, 4.6]], dtype=torch.float64)
FRACTIONAL = torch.tensor([[0.0, 0.0, 0.0], [0.21, 0.37, 0.64]], dtype=torch.float64)
SKEW = torch.tensor([[1, 0, 0], [7, 1, 0], [-12, 5, 1]], dtype=torch.float64)
"""Of determinant one: another cell of the same lattice, and a bad one."""
CRYSTALS = {
    "NaCl": ([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]], [0.5, 0.5, 0.5], 0.5, 1.7475645946),
    "CsCl": ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.5, 0.5, 0.5], math.sqrt(3) / 2, 1.7626747731),
}


def single(positions, cell, periodic=True, **settings):
    """Sums of one structure."""
    structure = torch.zeros(len(positions), dtype=torch.int64)
    return lattice_sums(positions, cell[None], torch.tensor([periodic]), structure, **settings)


def several(counts, seed=0):
    """Random triclinic cells, every third without periodicity."""
    generator = torch.Generator().manual_seed(seed)
    cell = torch.eye(3, dtype=torch.float64) + 0.5 * torch.rand(len(counts), 3, 3, generator=generator).double()
    cell = 2.5 * cell * torch.tensor(counts).double()[:, None, None] ** (1 / 3)
    pbc = torch.arange(len(counts)) % 3 != 2
    structure = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    fraction = torch.rand(len(structure), 3, generator=generator).double() * 3 - 1
    positions = (fraction[:, None] @ cell[structure])[:, 0]
    return positions, torch.where(pbc[:, None, None], cell, 0.0), pbc, structure


def direct(vector, cell, radius, function):
    """Sum of a function of the distance over the images within a radius, and their density."""
    dual = torch.linalg.inv(cell).T
    k, _ = lattice_points(cell[None], dual[None], torch.tensor([radius + 10.0]).double())
    r = torch.linalg.vector_norm(k @ cell + vector, dim=1)
    return function(r[(r > 1e-9) & (r <= radius)]).sum()


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("length", [1.0, 5.6])
def test_madelung(name, length):
    rows, basis, distance, expected = CRYSTALS[name]
    cell = length * torch.tensor(rows, dtype=torch.float64)
    sums = single(length * torch.tensor([[0.0] * 3, basis], dtype=torch.float64), cell, tolerance=1e-12)
    charges = torch.tensor([1.0, -1.0], dtype=torch.float64)
    once = torch.where(sums.i == sums.j, 0.5, 1.0)
    energy = (once * charges[sums.i] * charges[sums.j] * sums.values[:, 0]).sum()
    assert abs(-energy * distance * length - expected) < 1e-9


def test_simple_cubic_self_term():
    found = single(torch.zeros(1, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64), tolerance=1e-12).values
    assert found[0, 0].item() == pytest.approx(-2.8372974795, abs=1e-10)
    assert found[0, 1].item() == pytest.approx(8.4019239748, abs=1e-9)


def test_triclinic_values():
    sums = single(FRACTIONAL @ TRICLINIC, TRICLINIC, tolerance=1e-12)
    assert list(zip(sums.i.tolist(), sums.j.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]
    assert sums.values[1, 1].item() == pytest.approx(0.00852424416, abs=5e-12)
    assert sums.values[1, 2].item() == pytest.approx(9.03135088e-4, abs=5e-13)
    assert sums.values[0, 1].item() == pytest.approx(0.00183957, abs=5e-9)
    torch.testing.assert_close(sums.values[0], sums.values[2], rtol=0.0, atol=1e-14)
    scaled = single(FRACTIONAL @ TRICLINIC, TRICLINIC, tolerance=1e-12, released_scaling=True)
    assert torch.equal(scaled.values[:, :2], sums.values[:, :2])
    assert 66 < float(scaled.values[1, 2] / sums.values[1, 2]) < 68


@pytest.mark.parametrize("released", [False, True])
def test_london_and_pauli_against_the_direct_sum(released):
    positions, radius = FRACTIONAL @ TRICLINIC, 60.0
    volume = TRICLINIC.det().abs()
    alpha = 3.0 * volume ** (-1 / 6) if released else 3.0
    found = single(positions, TRICLINIC, tolerance=1e-12, released_scaling=released).values
    for row, vector in ((0, torch.zeros(3).double()), (1, positions[1])):
        london = direct(vector, TRICLINIC, radius, lambda r: r**-6) + 4 * math.pi / (3 * volume * radius**3)
        assert found[row, 1].item() == pytest.approx(london.item(), rel=1e-6)
        pauli = direct(vector, TRICLINIC, radius, lambda r: torch.exp(-alpha * r))
        assert found[row, 2].item() == pytest.approx(pauli.item(), rel=1e-10)


def test_another_cell_of_the_lattice_and_other_images_of_the_atoms():
    positions = FRACTIONAL @ TRICLINIC
    expected = single(positions, TRICLINIC, tolerance=1e-12).values
    shifts = torch.tensor([[3, -2, 5], [-40, 7, 1]], dtype=torch.float64) @ TRICLINIC
    for cell in (TRICLINIC, SKEW @ TRICLINIC, -TRICLINIC):
        for moved in (positions, positions + shifts, positions + 0.7):
            found = single(moved, cell, tolerance=1e-12).values
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_scaling_law():
    positions, factor = FRACTIONAL @ TRICLINIC, 2.0
    whole = single(positions, TRICLINIC, tolerance=1e-12).values
    half = single(positions / factor, TRICLINIC / factor, tolerance=1e-12, alpha=3.0 * factor).values
    torch.testing.assert_close(half[:, 0], factor * whole[:, 0], rtol=1e-11, atol=0.0)
    torch.testing.assert_close(half[:, 1], factor**6 * whole[:, 1], rtol=1e-11, atol=0.0)
    torch.testing.assert_close(half[:, 2], whole[:, 2], rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize("stretch", [(1, 1, 1), (0.5, 0.5, 6), (5, 5, 0.4)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_the_error_is_below_the_bound(stretch, tolerance):
    cell = torch.tensor([[1, 0, 0], [2, 1, 0], [0, -1, 1]]).double() @ (TRICLINIC * torch.tensor(stretch).double())
    positions = FRACTIONAL @ cell
    g = cell.det().abs() ** (1 / 3)
    unit = torch.stack([1 / g, g**-6, 8 * math.pi / (27 * g**3)])
    error = (
        single(positions, cell, tolerance=tolerance).values - single(positions, cell, tolerance=1e-13).values
    ) / unit
    assert error.abs().max() < tolerance
    assert (error.abs().amax(0) > tolerance * 1e-6).all()


def test_no_dependence_on_the_splitting():
    arguments = several([2, 5])
    found = [evaluate(plan(*arguments, tolerance=1e-12, split=s), *arguments[:2]) for s in (0.35, 0.6)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_not_periodic_are_plain_sums():
    positions = torch.tensor([[0.0, 0, 0], [1.1, 0.2, 0], [0, 0, 250.0]], dtype=torch.float64)
    sums = single(positions, torch.zeros(3, 3, dtype=torch.float64), periodic=False)
    r = torch.linalg.vector_norm(positions[sums.j] - positions[sums.i], dim=1)
    plain = torch.stack([1 / r, r**-6, torch.exp(-3 * r)], 1)
    expected = torch.where((sums.i == sums.j)[:, None], 0.0, plain)
    torch.testing.assert_close(sums.values, expected, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_batch_is_its_structures(dtype):
    counts = [3, 1, 2, 30, 1, 7, 2, 12, 4]
    positions, cell, pbc, structure = several(counts)
    order = torch.randperm(len(structure), generator=torch.Generator().manual_seed(1))
    x, box = positions.to(dtype), cell.to(dtype)
    sums = lattice_sums(x[order], box, pbc, structure[order])
    assert sums.values.dtype == dtype
    assert len(sums.i) == sum(n * (n + 1) // 2 for n in counts)
    table = {}
    for i, j, row in zip(order[sums.i].tolist(), order[sums.j].tolist(), sums.values, strict=True):
        table[min(i, j), max(i, j)] = row
    for index in range(len(counts)):
        atoms = (structure == index).nonzero()[:, 0]
        alone = single(positions[atoms], cell[index], bool(pbc[index]))
        g = float(cell[index].det().abs()) ** (1 / 3) if pbc[index] else 1.0
        unit = torch.tensor([1 / g, g**-6, 1.0]).double()
        for i, j, row in zip(atoms[alone.i].tolist(), atoms[alone.j].tolist(), alone.values, strict=True):
            tolerance = 1e-7 if dtype == torch.float64 else 1e-4
            torch.testing.assert_close(table[i, j].double() / unit, row / unit, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("released", [False, True])
def test_first_and_second_derivatives(released):
    positions, cell, pbc, structure = several([2, 1, 2])
    terms = plan(positions, cell, pbc, structure, tolerance=1e-6, released_scaling=released, split=0.5)
    scale = torch.tensor([1.0, 100.0, 100.0], dtype=torch.float64)
    mask = pbc[:, None, None]

    def values(positions, cell):
        return evaluate(terms, positions, torch.where(mask, cell, 0.0)) * scale

    inputs = (positions.requires_grad_(), cell.requires_grad_())
    assert torch.autograd.gradcheck(values, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(values, inputs, fast_mode=True)


def test_gradient_is_that_of_the_sums_and_not_of_the_truncation():
    positions, cell, pbc, structure = several([4])
    direction = torch.randn(3, 3, generator=torch.Generator().manual_seed(2)).double()

    def value(strain):
        strained = torch.eye(3, dtype=torch.float64) + strain * direction
        return lattice_sums(positions @ strained, cell @ strained, pbc, structure, tolerance=1e-13).values.sum()

    strain = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(strain), strain)
    step = 1e-4
    assert slope.item() == pytest.approx(((value(step) - value(-step)) / (2 * step)).item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_derivatives_are_finite_in_symmetric_crystals(dtype):
    rows, basis, *_ = CRYSTALS["NaCl"]
    cell = (5.6 * torch.tensor(rows, dtype=dtype)).requires_grad_()
    positions = (5.6 * torch.tensor([[0.0] * 3, basis], dtype=dtype)).requires_grad_()
    first = torch.autograd.grad(single(positions, cell).values.sum(), (positions, cell), create_graph=True)
    assert first[0].abs().max() < (1e-8 if dtype == torch.float64 else 1e-4)
    second = torch.autograd.grad(sum(part.square().sum() for part in first), (positions, cell))
    assert all(torch.isfinite(part).all() for part in (*first, *second))


def test_a_plan_with_a_skin_serves_moved_atoms():
    positions, cell, pbc, structure = several([5, 4])
    terms = plan(positions, cell, pbc, structure, tolerance=1e-8, skin=1.0)
    moved = positions + 0.25 * torch.nn.functional.normalize(torch.sin(7 * positions), dim=1)
    expected = lattice_sums(moved, cell, pbc, structure, tolerance=1e-12).values
    torch.testing.assert_close(evaluate(terms, moved, cell), expected, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha > 0"),
        ({"tolerance": 0.5}, "tolerance <= 0.01"),
        ({"positions": torch.zeros(2, 3).double()}, "two atoms are nearer"),
        ({"cell": TRICLINIC[[0, 1, 1]][None]}, "without volume"),
        ({"cell": TRICLINIC.expand(2, 3, 3), "pbc": torch.ones(2, dtype=torch.bool)}, "an atom in each"),
    ],
)
def test_refuses(change, message):
    given = {
        "positions": FRACTIONAL @ TRICLINIC,
        "cell": TRICLINIC[None],
        "pbc": torch.tensor([True]),
        "structure": torch.zeros(2, dtype=torch.int64),
    }
    with pytest.raises(ValueError, match=message):
        lattice_sums(**(given | change))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_a_gpu():
    arguments = several([2, 9, 3])
    expected = lattice_sums(*arguments).values
    found = lattice_sums(*(part.cuda() for part in arguments)).values
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-10, atol=1e-12)
