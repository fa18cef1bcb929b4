"""Mending what a kill or a crash has left of a campaign: nothing is recomputed that is whole, nothing kept that is not.

- no task: killed between a process's checkpoint and its task at the broker. It gets one (`verdi process repair`).
- cut off: workers that listen to a broker that was killed. They get a fresh daemon.
- stillborn: a caller was killed between a child's node and its checkpoint. Sealed as killed; the caller makes another.
- doubled: a caller was killed between a child's task and its own checkpoint. The younger one is killed.
- abandoned: a caller excepted or was killed while a child ran. Killed, for nobody waits for it.
- damaged: a job was killed between its end and its outputs; exit 0 without them, or exit 11. Barred from the cache,
  with its clones.

A label that is damaged in a running campaign is tried again by its work chain; one that a finished campaign has lost to
the machine is asked for again by `argonaut resume`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from plumpy.process_states import ProcessState

from ..provenance_db.called import NEVER_BEGAN, is_stillborn
from ..provenance_db.queries import chain, descendants
from .daemon import Daemon
from .pw_failures import bar_calculations, damage

KILL_SECONDS = 60.0
"""How long a process may take to die."""


@dataclass
class Findings:
    """What is wrong with the processes of a campaign."""

    stillborn: list[orm.ProcessNode] = field(default_factory=list)
    doubled: list[tuple[orm.ProcessNode, orm.ProcessNode]] = field(default_factory=list)
    """(the younger one, the one that counts)"""
    abandoned: list[orm.ProcessNode] = field(default_factory=list)
    damaged: list[tuple[orm.CalcJobNode, str]] = field(default_factory=list)
    """(calculation, what is wrong with it)"""


def examine(parts: Sequence[orm.WorkChainNode]) -> Findings:
    """Look at every process of campaigns that continue each other; changes nothing."""
    found = Findings()
    for part in parts:
        for process in descendants(part):
            calls = process.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
            by_label: dict[str, list[Any]] = defaultdict(list)
            for link in sorted(calls, key=lambda link: int(link.node.pk or 0)):
                child: Any = link.node
                if not is_stillborn(child):
                    by_label[link.link_label].append(child)
                elif not child.is_terminated:
                    found.stillborn.append(child)
            for first, *others in by_label.values():
                found.doubled += [(other, first) for other in others if not other.is_terminated]
                if process.is_terminated and not first.is_terminated:
                    found.abandoned.append(first)
            if isinstance(process, orm.CalcJobNode) and (reason := damage(process)) is not None:
                found.damaged.append((process, reason))
    return found


def repair(campaign: orm.WorkChainNode, daemon: Daemon, say: Callable[[str], None]) -> int:
    """Mend what can be mended of a campaign and all that it continues; how many things that were.

    The daemon is stopped meanwhile, and started again if it ran. `say` is called with a line per thing.
    """
    workers = daemon.stop()
    say(f"stopped the daemon ({workers} workers)" if workers else "no daemon was running")
    found = examine(chain(campaign))
    for node in found.stillborn:
        seal(node)
        say(f"{told(node)} never began, and has been given an end")
    barred = 0
    for calculation, reason in found.damaged:
        n_barred = bar_calculations([calculation])
        barred += n_barred
        if n_barred:
            say(f"{told(calculation)} {reason}: barred {n_barred} nodes from the cache, clones included")
    revived = daemon.restore_tasks()
    for pk in revived:
        say(f"process <{pk}> had no task, and has got one")
    if workers:
        daemon.start(workers)
        say(f"started the daemon ({workers} workers)")
    killed = [(node, f"is a second {told(first)}") for node, first in found.doubled]
    killed += [(node, "belongs to nobody any more") for node in found.abandoned]
    if killed and not workers:
        say(f"{len(killed)} processes have to be killed, for which a daemon must run: start it, and repair again")
        return len(found.stillborn) + barred + len(revived)
    for node, why in killed:
        say(f"{told(node)} {why}: {'killed' if daemon.kill(node, KILL_SECONDS) else 'does not answer; repair again'}")
    return len(found.stillborn) + barred + len(revived) + len(killed)


def seal(node: orm.ProcessNode) -> None:
    """Give a process that never began an end, so that nobody waits for it."""
    node.set_process_state(ProcessState.KILLED)
    node.set_process_status(NEVER_BEGAN)
    node.seal()


def told(node: orm.ProcessNode) -> str:
    """Process label and pk."""
    return f"{node.process_label} <{node.pk}>"
