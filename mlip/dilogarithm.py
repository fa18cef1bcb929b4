"""TeaNet's activation, the antiderivative of softplus: f(x) = -Li2(-exp(x)), shifted so that f(0) = 0.

f' = softplus and f'' = the logistic function, so forces, and the gradient of a loss over forces, see smooth functions.
With y = log(1 + exp(-|x|)) the Bernoulli series of the dilogarithm, -Li2(-exp(-|x|)) = P(y), is

    P(y) = sum_n B_n y^(n+1) / (n+1)! = y + y^2/4 + y^3/36 - y^5/3600 + ...,      0 < y <= log 2,

and inversion, f(x) + f(-x) = pi^2/6 + x^2/2, gives the other half. The error is that of rounding: the first term left
out is below 1e-9 with the float32 table and below 1e-17 with the float64 one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_SHIFT = math.pi**2 / 12
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_ODD = tuple(b / math.factorial(2 * k + 3) for k, b in enumerate(_BERNOULLI))
"""Coefficients of y^3, y^5, y^7 ..."""
_TERMS = {torch.float32: 3, torch.float64: len(_ODD)}
_LINEAR_FROM = 60.0
"""softplus(x) - x is below every rounding from here on, also in float64."""


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        y = x.abs().neg_().exp_().log1p_()
        squared = y * y
        odd = _ODD[: _TERMS.get(x.dtype, 3)]
        series = torch.full_like(y, odd[-1])
        for coefficient in reversed(odd[:-1]):
            series.mul_(squared).add_(coefficient)
        below = series.mul_(y).add_(0.25).mul_(squared).add_(y).sub_(_SHIFT)
        positive = x.clamp(min=0.0)
        return below.copysign_(x).addcmul_(positive, positive, value=0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * torch.nn.functional.softplus(x, threshold=_LINEAR_FROM)


def activation(x: Tensor) -> Tensor:
    """-Li2(-exp(x)) - pi^2/12, elementwise, in float32 or float64; differentiable any number of times."""
    return _Activation.apply(x)
