"""One training step: loss and gradient of a batch, eager or compiled to one kernel graph of a fixed size.

Compiling. The whole step, forces and the gradient of the loss over them included, is traced on one padded batch into a
graph without autograd (make_fx), and that graph is compiled (inductor). Tracing after differentiation means that the
compiler never differentiates: compiling energy and forces alone and letting autograd go through the result gives
silently wrong parameter gradients, because a traced `detach` cuts the second derivative. The first batch is computed
both ways, and a compiled step whose gradient differs is not used.

All batches are padded to one size (Samples.padded), so that there is one graph to compile; dummies count for nothing.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .baseline import Baseline
from .graph import Graph
from .objective import Weights, loss
from .potential import Architecture, Parameters, network_part
from .sample import Sample

AGREEMENT = 1e-3
"""Largest relative difference of a compiled gradient from the eager one, in float32."""

Step = Callable[[Tensor, Sample, Weights], tuple[Tensor, Tensor]]
"""step(flat weights (p,), batch, weights of the loss) -> loss, gradient (p,)."""


class CompileError(RuntimeError):
    """No compiled step: what is missing, or how it differs from the eager one."""


@dataclass(frozen=True)
class Network:
    """What a step differentiates: a network of some shape, and the constants of the loss."""

    architecture: Architecture
    config: Any
    shapes: Mapping[str, tuple[int, ...]]
    baseline: Baseline
    stress: bool
    """Whether any frame has a stress."""
    linear_from: float

    def parameters(self, flat: Tensor) -> Parameters:
        """Weights by name, as views of the flat vector."""
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def eager(self, flat: Tensor, sample: Sample, weights: Weights) -> tuple[Tensor, Tensor]:
        """Loss and gradient by autograd."""
        leaf = flat.detach().requires_grad_()
        result = network_part(
            self.architecture, self.config, self.parameters(leaf), self.baseline, sample.graph, self.stress,
            create_graph=True,
        )  # fmt: skip
        value = loss(result, sample, weights, self.baseline.scale)
        (gradient,) = torch.autograd.grad(value, leaf)
        return value.detach(), gradient


def compiled(network: Network, flat: Tensor, sample: Sample) -> tuple[Step, float]:
    """A step for batches of exactly the sizes of `sample`, and the seconds it took to make.

    Raises CompileError where there is no compiler, or if it does not give the eager gradient.
    """
    if flat.device.type == "cpu" and not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise CompileError("no C++ compiler (c++, g++ or clang++) on the PATH")
    began = time.monotonic()
    weights = Weights(1.0, 1.0, 1.0, network.linear_from)
    try:
        run = _traced(network, flat, sample, weights)
        value, gradient = run(*_arguments(flat, sample, weights))
    except Exception as error:  # the compiler's errors have no common class
        raise CompileError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
    _, expected = network.eager(flat, sample, weights)
    difference = float((gradient - expected).norm() / expected.norm().clamp(min=1e-30))
    if not (difference < AGREEMENT and bool(torch.isfinite(value))):
        raise CompileError(f"its gradient differs from the eager one by {difference:.1e}")

    def step(flat: Tensor, sample: Sample, weights: Weights) -> tuple[Tensor, Tensor]:
        loss_value, found = run(*_arguments(flat, sample, weights))
        return loss_value, found

    return step, time.monotonic() - began


def _arguments(flat: Tensor, sample: Sample, weights: Weights) -> tuple[Tensor, ...]:
    numbers = torch.tensor(weights[:3], dtype=flat.dtype, device=flat.device)
    return flat.detach(), numbers, *sample.graph, *sample[1:]


def _traced(network: Network, flat: Tensor, sample: Sample, weights: Weights) -> Any:
    from torch.fx.experimental.proxy_tensor import make_fx

    n_graph = len(Graph._fields)

    def whole(flat: Tensor, numbers: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        inner = Sample(Graph(*parts[:n_graph]), *parts[n_graph:])
        energy, force, stress = numbers.unbind()
        return network.eager(flat, inner, Weights(energy, force, stress, weights.linear_from))

    traced = make_fx(whole)(*_arguments(flat, sample, weights))
    return torch.no_grad()(torch.compile(traced, fullgraph=True, dynamic=False))
