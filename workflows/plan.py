"""The plan of one iteration: what each stage shall do, with its own seed derived from the campaign's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any


def derived_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2^31) for one stage: a hash of the campaign's seed and the stage's names, nothing else."""
    text = ":".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def member_architecture(train: Mapping[str, Any], member: int) -> str:
    """The architecture of a member by its number: members take turns where there are several."""
    given = train["architecture"]
    return str(given if isinstance(given, str) else given[member % len(given)])


def iteration_plan(
    settings: dict[str, Any], seed: int, iteration: int, explores: bool | None = None, tunes: bool = False
) -> dict[str, Any]:
    """Settings per stage for one iteration.

    :param settings: the campaign's settings as `builder` makes them.
    :param iteration: its number; 0 is the first.
    :param explores: whether there is a committee to explore with; else a seed set is generated and labelled as it is.
        None: in all iterations but the first.
    :param tunes: whether training starts from a committee's weights: member k from its member k.
    :returns: documents for `plan` (the number of the iteration), `generate`, `explore`, `select`, `label`, and under
        `members` one training document per committee member. The versions of the numerics are part of each document
        whose result depends on them, so that AiiDA's cache never takes one version's result for another's.
    """
    numerics = settings["numerics"]
    generate, explore, select = (dict(settings[stage]) for stage in ("generate", "explore", "select"))
    seed_set, starts, counted = generate.pop("seed_set"), generate.pop("starts"), generate.pop("counted", 0)
    wanted = starts if explores or (explores is None and iteration) else seed_set
    train = {key: value for key, value in settings["train"].items() if key not in ("members", "max_jobs")}

    def stage(name: str, document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "seed": derived_seed(seed, name, iteration), "numerics": numerics}

    def member(k: int) -> dict[str, Any]:
        document = {**train, "members": 1, "seed": derived_seed(seed, "train", iteration, k), "numerics": numerics}
        if not tunes:
            return {**document, "architecture": member_architecture(train, k)}
        if not isinstance(train["architecture"], str):  # the weights say it, whichever members there still are
            document = {key: value for key, value in document.items() if key not in ("architecture", "preset")}
        return {**document, "initial_member": k}

    return {
        "plan": {"iteration": iteration},
        "generate": stage("generate", {**generate, "count": wanted, "start": counted if iteration else 0}),
        "explore": stage("explore", explore),
        "select": stage("select", select),
        "label": settings["label"],
        "evaluate": {"numerics": numerics},
        "members": {f"member_{k:02d}": member(k) for k in range(settings["train"]["members"])},
    }
