"""How a process ended, in words: what reports, exit messages and accounts of losses quote."""

from __future__ import annotations

from aiida import orm


def told_end(node: orm.ProcessNode) -> str:
    """Exit status and message of a process, or that it excepted (with the last line of why) or was killed."""
    if node.is_killed:
        return f"{node.process_label} was killed"
    if node.is_excepted:
        last_line = str(node.exception).strip().splitlines()[-1] if node.exception else "without saying why"
        return f"{node.process_label} excepted: {last_line}"
    return f"{node.process_label} ended {node.exit_status}: {node.exit_message}"
