"""Where exploration starts: new random configurations, and frames the committee has learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .frames import Configuration


def choose_starts(
    known: Sequence[Configuration], fresh: Sequence[Configuration], count: int, seed: int
) -> list[Configuration]:
    """All of `fresh`, then `count` of `known` (all of them if there are fewer), drawn without replacement by `seed`.

    `known` is put in the order of its ids first, so that the choice depends on the set alone.
    """
    ordered = sorted(known, key=lambda configuration: configuration.configuration_id)
    drawn = np.random.default_rng(seed).permutation(len(ordered))[:count]
    return [*fresh, *(ordered[index] for index in sorted(drawn))]
