"""Draws from a pool: without replacement, free of order, and an end that is told."""

import numpy as np
import pytest

from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.pool import PoolError, draw


@pytest.fixture
def pool():
    return [Configuration([2], [[0.0, 0.0, 0.0]], (3 + k) * np.eye(3)) for k in range(12)]


def ids(configurations):
    return [configuration.configuration_id for configuration in configurations]


def test_a_draw_depends_on_set_and_seed_alone(pool):
    assert ids(draw(pool, (), 5, 3)) == ids(draw([*pool[::-1], pool[4]], (), 5, 3))
    assert len({tuple(ids(draw(pool, (), 5, seed))) for seed in range(6)}) > 1


def test_draws_exhaust_the_pool_without_a_repetition(pool):
    known: list[str] = []
    sizes = []
    while len(known) < len(pool):
        drawn = draw(pool, known, 5, len(known))
        sizes.append(len(drawn))
        known += ids(drawn)
    assert sizes == [5, 5, 2]
    assert sorted(known) == sorted(ids(pool))
    with pytest.raises(PoolError, match="all of its 12 different configurations are known"):
        draw(pool, known, 1, 0)


def test_a_draw_of_nothing_is_refused(pool):
    with pytest.raises(PoolError, match="count 0"):
        draw(pool, (), 0, 0)
