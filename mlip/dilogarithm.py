"""TeaNet's activation, the antiderivative of softplus: f(x) = -Li2(-exp(x)), shifted so that f(0) = 0.

f' = softplus and f'' = the logistic function, so forces, and the gradient of a loss over forces, see smooth functions.
With y = log(1 + exp(-|x|)) the Bernoulli series of the dilogarithm, -Li2(-exp(-|x|)) = P(y), is

    P(y) = sum_n B_n y^(n+1) / (n+1)! = y + y^2/4 + y^3/36 - y^5/3600 + ...,      0 < y <= log 2,

and inversion, f(x) + f(-x) = pi^2/6 + x^2/2, gives the other half. The error is that of rounding: the first term left
out is below 1e-9 with the float32 table and below 1e-17 with the float64 one.

Value and slope are made of operations whose own derivatives are right to rounding for every x, also at x = 0 where
|x| has a kink: a training step that is traced and compiled differentiates them. Step by step (eager) the closed forms
of the derivatives are used instead, which is cheaper.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_ODD = tuple(b / math.factorial(2 * k + 3) for k, b in enumerate(_BERNOULLI))
"""Coefficients of y^3, y^5, y^7 ..."""
_TERMS = {torch.float32: 3, torch.float64: len(_ODD)}


class _Activation(torch.autograd.Function):
    """f(x) and f'(x): the slope that the value needs is what comes out beside it, and its own slope is logistic."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return from_plain_operations(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Tensor | None:
        (x, slope), (of_value, of_slope) = ctx.saved_tensors, gradients
        total = None if of_value is None else of_value * slope
        if of_slope is None:
            return total
        second = of_slope * torch.sigmoid(x)
        return second if total is None else total + second


def activation(x: Tensor) -> Tensor:
    """-Li2(-exp(x)) - pi^2/12, elementwise, in float32 or float64; differentiable any number of times."""
    value: Tensor = _Activation.apply(x)[0]
    return value


def from_plain_operations(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same and its first derivative, both to be differentiated operation by operation.

    relu has the slope 0 at 0, so that x = 0 is part of the lower half in every derivative; `where` would take as long
    as everything else together.
    """
    positive = torch.relu(x)
    y = torch.sub(x, positive, alpha=2.0).exp().log1p()
    below = _series(y) - _SHIFT.get(x.dtype, math.pi**2 / 12)
    folded = torch.addcmul(below, torch.sign(positive), below, value=-2.0)
    return torch.addcmul(folded, positive, positive, value=0.5), y + positive


def _series(y: Tensor) -> Tensor:
    """P(y) of the head of the file."""
    squared = y * y
    *others, total = _ODD[: _TERMS.get(y.dtype, 3)]
    series = total * squared + others[-1]
    for coefficient in reversed(others[:-1]):
        series = series * squared + coefficient
    return (series * y + 0.25) * squared + y


_SHIFT = {dtype: float(_series(torch.zeros(1, dtype=dtype).exp().log1p())) for dtype in _TERMS}
"""P(log 2) = pi^2 / 12 as each dtype rounds it: so f(0) is zero to the last bit."""
