"""Work chains whose children may be tried again: named pieces of work, each with as many attempts as its failures earn.

What earns another attempt is the subclass's to say (`worth_another`); how the attempts are named, counted, kept within
the window and found again after a crash is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiida import orm

from ..provenance_db.queries import GIVEN_UP
from .window import WindowWorkChain


class AttemptsWorkChain(WindowWorkChain):
    """A work chain that gets named pieces of work done, W at a time, some in more than one attempt."""

    def begin(self, names: Iterable[str]) -> None:
        """Every piece of work, in the order in which to start it, is at its first attempt."""
        self.ctx.attempts = dict.fromkeys(names, 1)
        self.ctx.settled = []
        self.ctx.decided = not self.ctx.attempts
        self.ctx.limit = None

    def undecided(self) -> bool:
        """Whether a piece of work is neither done nor given up."""
        return not self.ctx.decided

    def worth_another(self, name: str, attempt: int, node: orm.ProcessNode) -> str | None:
        """Why this ended attempt shall be followed by another one; None if what it left is the result."""
        raise TypeError(f"{type(self).__name__} does not say what is worth another attempt at {name}")

    def limit(self) -> str | None:
        """Why nothing more may be started; asked before anything is. What runs then is waited for."""
        return None

    def attempt_label(self, name: str) -> str:
        """Call link label of the current attempt at a piece of work."""
        return _label(name, self.ctx.attempts[name])

    def earlier_attempts(self, name: str) -> list[orm.ProcessNode]:
        """The attempts at a piece of work before the current one, in their order."""
        children = self.children()
        labels = [_label(name, attempt) for attempt in range(1, self.ctx.attempts[name])]
        return [children[label] for label in labels if label in children]

    def advance(self, width: int, submit: Callable[[str], orm.ProcessNode]) -> dict[str, orm.ProcessNode]:
        """Keep `width` attempts running, follow those that earned it by another, and wait for the next to end.

        Once there is a `limit`, nothing more is started; see `unstarted`.

        :param submit: starts the current attempt (`attempt_label`) at the piece of work with this name.
        :returns: the current attempts that have ended, by label.
        """
        if self.ctx.limit is None:
            self._follow_up()
        names = {self.attempt_label(name): name for name in self.ctx.attempts}
        started = self.children().keys()
        if self.ctx.limit is None and names.keys() - started:
            self.ctx.limit = self.limit()
        if self.ctx.limit is not None:
            names = {label: name for label, name in names.items() if label in started}
        ended = self.fill_window(names, width, lambda label: submit(names[label]))
        self.ctx.decided = len(ended) == len(names) and (self.ctx.limit is not None or not self._follow_up())
        return ended

    def last_attempts(self) -> dict[str, orm.ProcessNode]:
        """The current, and when all is decided last, attempt at each piece of work that was started."""
        children = self.children()
        labels = {name: self.attempt_label(name) for name in self.ctx.attempts}
        return {name: children[label] for name, label in labels.items() if label in children}

    def unstarted(self) -> list[str]:
        """The pieces of work whose current attempt a limit has kept from being started."""
        started = self.last_attempts()
        return [name for name in self.ctx.attempts if name not in started]

    def _give_up(self, node: orm.ProcessNode) -> None:
        """Note in the record that no other attempt follows one that failed: until then it may be rescued."""
        if not node.is_finished_ok:
            self.node.base.extras.set(GIVEN_UP, [*self.node.base.extras.get(GIVEN_UP, []), node.pk])

    def _follow_up(self) -> bool:
        """Count another attempt for everything that ended and earned one; whether anything did."""
        children, again = self.children(), False
        for name, attempt in self.ctx.attempts.items():
            label = self.attempt_label(name)
            node = children.get(label)
            if node is None or label in self.ctx.settled or not self.has_ended(node):
                continue
            reason = self.worth_another(name, attempt, node)
            if reason is None:
                self._give_up(node)
                self.ctx.settled = [*self.ctx.settled, label]
                continue
            self.report(f"{name} <{node.pk}>: {reason}; trying again")
            self.ctx.attempts[name] = attempt + 1
            again = True
        return again


def _label(name: str, attempt: int) -> str:
    return name if attempt == 1 else f"{name}_attempt_{attempt}"
