"""A pool of given configurations, drawn from without replacement: what a recipe is where structures exist already."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from .frames import Configuration


class PoolError(ValueError):
    """A pool with nothing left to draw."""


def draw(pool: Sequence[Configuration], known_ids: Collection[str], count: int, seed: int) -> list[Configuration]:
    """`count` configurations of `pool` that are not known, each at most once; all that are left if there are fewer.

    :param known_ids: configuration_ids that must not come again.

    The pool is put in the order of its ids first, so that draw and order depend on the set and the seed alone. Raises
    PoolError if nothing is left.
    """
    left = {configuration.configuration_id: configuration for configuration in reversed(pool)}
    names = sorted(left.keys() - set(known_ids))
    if not names:
        raise PoolError(
            f"the pool has nothing left: all of its {len(left)} different configurations are known; add configurations "
            "or ask for fewer iterations"
        )
    if count < 1:
        raise PoolError(f"count {count}: expected 1 or more")
    return [left[names[index]] for index in np.random.default_rng(seed).permutation(len(names))[:count]]
