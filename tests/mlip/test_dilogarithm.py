"""The activation against known values and its own derivatives."""

import math

import pytest
import torch

from aiida_argonaut.mlip.dilogarithm import activation

KNOWN = {0.0: 0.822467033424, -2.0: 0.131012484714, 1.0: 1.80628607044, 3.0: 6.09575334651}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-6)])
def test_known_values(dtype, tolerance):
    x = torch.tensor(list(KNOWN), dtype=dtype)
    expected = torch.tensor(list(KNOWN.values()), dtype=dtype)
    assert (activation(x) + math.pi**2 / 12 - expected).abs().max() < tolerance


def test_derivatives_are_softplus_and_logistic():
    x = torch.linspace(-40, 70, 300, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(activation(x).sum(), x, create_graph=True)
    torch.testing.assert_close(first, torch.logaddexp(x, torch.zeros_like(x)), rtol=1e-12, atol=1e-14)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    torch.testing.assert_close(second, torch.sigmoid(x), rtol=1e-12, atol=1e-14)
    (third,) = torch.autograd.grad(second.sum(), x)
    torch.testing.assert_close(third, torch.sigmoid(x) * torch.sigmoid(-x), rtol=1e-9, atol=1e-14)


def test_value_is_the_integral_of_its_derivative():
    x = torch.linspace(-8, 8, 33, dtype=torch.float64)
    step = 1e-4
    slope = (activation(x + step) - activation(x - step)) / (2 * step)
    torch.testing.assert_close(slope, torch.nn.functional.softplus(x, threshold=60), rtol=1e-7, atol=1e-8)


def test_inversion_and_float32():
    x = torch.linspace(-9, 9, 1001, dtype=torch.float64)
    torch.testing.assert_close(activation(x) + activation(-x), x * x / 2, rtol=1e-13, atol=1e-14)
    single = x.float()
    torch.testing.assert_close(activation(single).double(), activation(single.double()), rtol=3e-7, atol=2e-7)
    assert activation(torch.zeros(1)).item() == pytest.approx(0.0, abs=1e-7)


def test_extremes_are_finite():
    x = torch.tensor([-1e4, 1e4], requires_grad=True)
    value = activation(x)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(x.grad).all()
