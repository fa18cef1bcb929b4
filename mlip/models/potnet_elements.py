"""What PotNet's published form is told of an element: 92 zeros and ones.

Binned properties as in CGCNN (Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), table S1), from which PotNet has
them. The values below are from the usual tables (electronegativity: Pauling; covalent radius: Cordero et al., Dalton
Trans., 2832 (2008); ionisation energy and electron affinity: CRC Handbook of Chemistry and Physics); the bins are our
reconstruction, and stretch over H to Ar only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

GROUPS = (1, 18, 1, 2, 13, 14, 15, 16, 17, 18, 1, 2, 13, 14, 15, 16, 17, 18)
PERIODS = (1,) * 2 + (2,) * 8 + (3,) * 8
ELECTRONEGATIVITY: tuple[float | None, ...] = (
    2.20, None, 0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, None, 0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16, None,
)  # fmt: skip
COVALENT_RADIUS = (
    0.31,
    0.28,
    1.28,
    0.96,
    0.84,
    0.76,
    0.71,
    0.66,
    0.57,
    0.58,
    1.66,
    1.41,
    1.21,
    1.11,
    1.07,
    1.05,
    1.02,
    1.06,
)
"""Å."""
VALENCE_ELECTRONS = (1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8)
IONISATION = (
    13.60, 24.59, 5.39, 9.32, 8.30, 11.26, 14.53, 13.62, 17.42, 21.56, 5.14, 7.65, 5.99, 8.15, 10.49, 10.36, 12.97,
    15.76,
)  # fmt: skip
"""eV, of the neutral atom."""
AFFINITY = (0.75, 0.0, 0.62, 0.0, 0.28, 1.26, 0.0, 1.46, 3.40, 0.0, 0.55, 0.0, 0.43, 1.39, 0.75, 2.08, 3.61, 0.0)
"""eV; zero where the anion is not bound."""
BLOCKS = (0, 0, 0, 0) + (1,) * 6 + (0, 0) + (1,) * 6
"""0 for s, 1 for p; helium counts as s."""
VOLUME = (14.1, 31.8, 13.1, 5.0, 4.6, 5.3, 17.3, 14.0, 17.1, 16.8, 23.7, 14.0, 10.0, 12.1, 17.0, 15.5, 18.7, 24.2)
"""cm^3/mol of the element."""


def _binned(values: tuple[float | None, ...], bins: int) -> Tensor:
    """(18, bins): a one in the bin of each value, bins of equal width from the smallest to the largest."""
    known = [value for value in values if value is not None]
    low, width = min(known), (max(known) - min(known)) / bins
    rows = torch.zeros(len(values), bins)
    for row, value in enumerate(values):
        if value is not None:
            rows[row, min(int((value - low) / width), bins - 1)] = 1.0
    return rows


def _counted(values: tuple[int, ...], bins: int, first: int = 1) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(values) - first, bins).float()


FEATURES = torch.cat(
    [
        _counted(GROUPS, 18),
        _counted(PERIODS, 8),
        _binned(ELECTRONEGATIVITY, 10),
        _binned(COVALENT_RADIUS, 10),
        _counted(VALENCE_ELECTRONS, 12),
        _binned(tuple(math.log(value) for value in IONISATION), 10),
        _binned(AFFINITY, 10),
        _counted(BLOCKS, 4, first=0),
        _binned(tuple(math.log(value) for value in VOLUME), 10),
    ],
    1,
)
"""(18, 92) float32."""
