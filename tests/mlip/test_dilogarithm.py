"""The activation against known values and its own derivatives."""

import math

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aiida_argonaut.mlip.dilogarithm import activation, from_plain_operations

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_zero_at_zero_to_the_last_bit(dtype, size):
    assert (activation(torch.zeros(size, dtype=dtype)) == 0).all()


def traced(x):
    """Value and slope as a traced step has them: plain operations, to be differentiated one by one."""

    def function(x):
        value = activation(x)
        return value, torch.autograd.grad(value.sum(), x, create_graph=True)[0]

    graph = make_fx(function)(x)
    for node in list(graph.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph(x)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-15), (torch.float32, 1e-6)])
@pytest.mark.parametrize("function", [from_plain_operations, traced], ids=["plain", "traced"])
def test_operation_by_operation_the_derivatives_are_the_same(function, dtype, tolerance):
    x = torch.cat([torch.linspace(-30, 70, 300), torch.zeros(3), torch.tensor([-0.0])]).to(dtype).requires_grad_()
    softplus, logistic = torch.logaddexp(x.double(), torch.zeros(1).double()), torch.sigmoid(x.double())
    value, slope = function(x)
    assert torch.equal(value, activation(x))
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    for found, expected in (
        (slope, softplus),
        (first, softplus),
        (torch.autograd.grad(slope.sum(), x, retain_graph=True)[0], logistic),
        (torch.autograd.grad(first.sum(), x)[0], logistic),
    ):
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=0.0)


def test_maps_over_members():
    x = torch.linspace(-3, 3, 12).view(3, 4)
    torch.testing.assert_close(torch.func.vmap(activation)(x), activation(x), rtol=1e-6, atol=1e-7)


def test_extremes_are_finite():
    x = torch.tensor([-1e4, 1e4], requires_grad=True)
    value = activation(x)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(x.grad).all()
