"""Work chains that keep a bounded number of children running, and never start one twice.

`WorkChain` resumes when *all* children it waits for have ended. `WindowWorkChain` resumes when *any* has, so that a
step that calls `fill_window` again and again keeps exactly W children in flight, however different their durations.

After a crash AiiDA repeats the step that was running, from its last checkpoint: a child submitted just before the
crash is already in the database but not in the context. `submit_once` names every child by its call link label and
adopts the one that exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aiida import orm
from aiida.engine import WorkChain
from aiida.engine.processes.workchains.awaitable import Awaitable
from plumpy.process_states import ProcessState

from ..provenance_db.called import Called
from .patience import be_patient
from .thrift import be_thrifty

be_patient()
be_thrifty()


class WindowWorkChain(WorkChain):
    """A work chain that may wait for the first of several children, and adopts children it already has."""

    _seen: Called | None = None
    """In memory only: made anew by a worker that goes on with this process."""

    def children(self) -> dict[str, orm.ProcessNode]:
        """Every child called so far by its call link label; the oldest where a crash made two of one label."""
        if self._seen is None:
            self._seen = Called(self.node)
        return self._seen.look()

    def has_ended(self, child: orm.ProcessNode) -> bool:
        """Whether a child had ended when the children were looked at last."""
        return self._seen is not None and self._seen.has_ended(child)

    def submit_once(self, label: str, process: Any, inputs: dict[str, Any]) -> orm.ProcessNode:
        """Submit a child under a label that is unique within this work chain, or adopt the one that exists."""
        existing = self.children().get(label)
        if existing is not None:
            return existing
        metadata = {**inputs.get("metadata", {}), "call_link_label": label}
        return self.submit(process, **{**inputs, "metadata": metadata})

    def fill_window(
        self, labels: Iterable[str], width: int, submit: Callable[[str], orm.ProcessNode]
    ) -> dict[str, orm.ProcessNode]:
        """Start children until `width` are running, and wait for the first to end.

        :param labels: every child there shall be, in the order in which to start them.
        :param width: at most so many run at a time.
        :param submit: starts (or adopts) the child of a label.
        :returns: the children that have ended, by label; when none is running any more, that is all of them.
        """
        existing = self.children()
        ended: dict[str, orm.ProcessNode] = {}
        running: dict[str, orm.ProcessNode] = {}
        wanted = list(labels)
        for label in wanted:
            if label in existing:
                (ended if self.has_ended(existing[label]) else running)[label] = existing[label]
        for label in wanted:
            if label not in existing and len(running) < width:
                running[label] = submit(label)
        if running:
            self.to_context(**running)
        else:
            self.set_status(None)  # else `verdi process list` would show the last children for ever
        return ended

    def _on_awaitable_finished(self, awaitable: Awaitable) -> None:
        current = next((waiting for waiting in self._awaitables if waiting.pk == awaitable.pk), None)
        if current is None:
            return  # the second call for a child that an earlier wait has already taken note of
        super()._on_awaitable_finished(current)
        if self.state == ProcessState.WAITING:
            self.resume()
