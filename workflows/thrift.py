"""Thrift with the database: what AiiDA asks of it at every state change of a process, though the answer is known.

A process attaches its new outputs to its node at each of its some ten state changes, and for that asks which outputs
are attached already (`Process.update_outputs`, aiida-core 2.9.4), also while it has made none: a fifth of what a label
costs in AiiDA. `be_thrifty` spares the question then, for all processes of a worker; calculations stay those of their
plugins, in the record as everywhere.
"""

from __future__ import annotations

from functools import cache

from aiida.engine import Process


@cache
def be_thrifty() -> None:
    """Once per Python process."""
    attach = Process.update_outputs

    def update_outputs(self: Process) -> None:
        if self.outputs:
            attach(self)

    Process.update_outputs = update_outputs  # type: ignore[method-assign]
