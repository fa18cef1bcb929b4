"""The seam behind which labels are made: a labeller is a process that takes a shard of configurations.

Every labeller has the inputs `configurations` and `settings`, and the outputs `labels` (a dataset; absent if every
label was lost) and `losses` (submitted, ok, each lost label with its reason). A new labeller is one process, one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Labeller:
    """How shards are handed to a labelling process."""

    kind: str
    """'workflows' or 'calculations': which group of entry points it is in."""
    entry_point: str
    shards_at_once: Callable[[int], int]
    """How many shards may run at a time, given that at most W labels may be in flight."""
    inputs: Callable[[Mapping[str, Any], dict[str, Any]], dict[str, Any]]
    """Inputs of the process beside `configurations` and `settings`, from code, options and pseudopotentials."""


def _pw_inputs(given: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {"code": given["code"], "pseudos": given["pseudos"]}


def _ase_inputs(given: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {"code": given["code"], "metadata": {"options": options}}


def _table_inputs(given: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {"code": given["code"], "table": given["table"], "metadata": {"options": options}}


LABELLERS: dict[str, Labeller] = {
    "quantumespresso": Labeller("workflows", "argonaut.label_pw", lambda width: 1, _pw_inputs),
    "ase": Labeller("calculations", "argonaut.label_ase", lambda width: width, _ase_inputs),
    "table": Labeller("calculations", "argonaut.label_table", lambda width: width, _table_inputs),
}
