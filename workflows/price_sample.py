"""Configurations that a campaign would meet, made as the campaign would make them, to be priced and never stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..mlip.frames import Configuration
from ..mlip.generate.draw import GenerationError
from ..mlip.generate.recipe import generate, recipe_from_mapping
from ..mlip.pool import draw
from ..mlip.settings import SettingsError
from .plan import iteration_plan
from .recipe_files import stored_reader
from .reference_atoms import atoms_due, isolated_atoms

SIZE = 64
"""Configurations, at most, of the first and of the later iterations."""


@dataclass(frozen=True)
class Sample:
    """Configurations of a campaign."""

    first: list[Configuration]
    """Of the seed set, or what is labelled with it: the very ones, if there are no more than SIZE."""
    later: list[Configuration]
    """The first starts of later iterations."""
    seconds: float
    """s per configuration that was made."""
    pooled: bool
    """Whether they are drawn from a pool, for which no job is run."""


def sample(builder: Any, iterations: int) -> Sample:
    """The first configurations of the first and of the next iterations; ValueError if there are none at all."""
    settings, seed = builder.settings.get_dict(), builder.seed.value
    besides = builder.start.structures.configurations() if "structures" in builder.get("start", {}) else []
    begin = time.perf_counter()
    made = _made(builder, iteration_plan(settings, seed, 0)["generate"], SIZE)
    first = [*isolated_atoms(atoms_due(settings, 0)), *besides, *made][:SIZE]
    later: list[Configuration] = []
    for number in range(1, max(iterations, 2)):
        if len(later) < SIZE:
            later += _made(builder, iteration_plan(settings, seed, number)["generate"], SIZE - len(later))
    each = (time.perf_counter() - begin) / max(len(first) + len(later), 1)
    if not (besides or made or later):
        raise SettingsError(
            "no configuration of this campaign could be made: check its recipe with `argonaut generate`"
        )
    return Sample(first or later, later or first, each, builder.get("pool") is not None)


def _made(builder: Any, settings: dict[str, Any], most: int) -> Sequence[Configuration]:
    """Up to `most` of the configurations that generation would make."""
    count = min(settings["count"], most)
    if count < 1:
        return []
    if builder.get("pool") is not None:
        return draw(builder.pool.configurations(), (), count, settings["seed"])
    recipe, made = recipe_from_mapping(settings["recipe"], read=stored_reader(builder.get("recipe_files") or {})), []
    for index in range(settings["start"], settings["start"] + count):
        try:
            made.append(generate(recipe, settings["seed"], index).configuration)
        except GenerationError:
            continue
    return made
