"""The processes that a process has called, by their call link labels."""

from __future__ import annotations

import re
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from plumpy.process_states import ProcessState

NEVER_BEGAN = "never began, for its caller died before it could"
"""Status of a process to which `argonaut repair` has given an end."""
CALLS = [LinkType.CALL_CALC.value, LinkType.CALL_WORK.value]
ENDS = [ProcessState.FINISHED.value, ProcessState.EXCEPTED.value, ProcessState.KILLED.value]


class Called:
    """What a process has called, for who looks again and again: each time only what had not ended is looked up.

    A node asks the database for every attribute, each time. At the end of each of a hundred labels that was done for
    all of them, several times over, and was a good part of what a label cost in AiiDA.
    """

    def __init__(self, caller: orm.ProcessNode) -> None:
        self._caller = caller.pk
        self._newest = -1
        self._open: set[int] = set()
        self._ended: dict[int, tuple[str, Any]] = {}

    def look(self) -> dict[str, Any]:
        """By call link label, the oldest of several; those that never came to life are left out."""
        query = orm.QueryBuilder().append(orm.ProcessNode, filters={"id": self._caller}, tag="caller")
        query.append(
            orm.ProcessNode, with_incoming="caller",
            filters={"or": [{"id": {">": self._newest}}, {"id": {"in": [*self._open, -1]}}]},
            project=["*", "id", "attributes.process_state", "attributes.process_status"],
            edge_filters={"type": {"in": CALLS}}, edge_project="label",
        )  # fmt: skip
        alive: dict[int, tuple[str, Any]] = {}
        self._open = set()
        for node, pk, state, status, label in query.all():
            self._newest = max(self._newest, pk)
            if state not in ENDS:
                self._open.add(pk)
                if not is_stillborn(node):
                    alive[pk] = (label, node)
            elif status != NEVER_BEGAN:
                self._ended[pk] = (label, node)
        return dict(called for _, called in sorted({**self._ended, **alive}.items(), reverse=True))

    def has_ended(self, node: orm.ProcessNode) -> bool:
        """Whether it had ended at the last look."""
        return node.pk in self._ended


def children(node: orm.ProcessNode) -> dict[str, Any]:
    """Called processes by call link label, the oldest of several; those that never came to life are left out."""
    return Called(node).look()


def is_stillborn(node: orm.ProcessNode) -> bool:
    """Whether a called process was stored, but its caller died before it could be started: nothing will ever run it.

    AiiDA stores the child (without a state), notes it as 'created', stores its checkpoint, and then sends its task
    (`Process.on_create`, `Process.on_entered`, `Runner.submit`). A healthy child that waits for a worker is thus
    'created' with a checkpoint; one without was cut off on the way there. Process functions have no checkpoints and
    run inside their caller: a missing checkpoint says nothing about them. `argonaut repair` gives them an end, by which
    they are known from then on.
    """
    if not isinstance(node, orm.WorkChainNode | orm.CalcJobNode):
        return False
    if node.process_status == NEVER_BEGAN:
        return True
    return node.process_state in (None, ProcessState.CREATED) and node.checkpoint is None


def newest_attempts(node: orm.ProcessNode, kind: str) -> dict[str, Any]:
    """The newest attempt at each piece of work: of children KIND[_NNN][_attempt_K], that with the largest K by name."""
    newest: dict[str, tuple[int, Any]] = {}
    for label, child in children(node).items():
        parts = re.fullmatch(rf"({kind}(?:_\d+)?)(?:_attempt_(\d+))?", label)
        if parts is not None:
            attempt = (int(parts[2] or 1), child)
            newest[parts[1]] = max(newest.get(parts[1], attempt), attempt, key=lambda one: one[0])
    return {name: child for name, (_, child) in newest.items()}
