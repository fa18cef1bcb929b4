"""The daemon of the loaded profile, as commands stop, start and mend it.

Nothing here imports AiiDA at the top: `argonaut demo` has to choose AIIDA_PATH first.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .setup import SetupError

if TYPE_CHECKING:
    from aiida import orm

PATIENCE = "60"
"""s that a busy daemon may take to answer; AiiDA's own 2 s are too few on a machine at work."""


class Daemon:
    """Speaks to the daemon through `verdi`, as a person would."""

    def __init__(self, profile: str) -> None:
        self.profile = profile

    def stop(self) -> int:
        """Stop the daemon if it runs; how many workers it had."""
        from aiida.engine.daemon.client import get_daemon_client

        client = get_daemon_client()
        if not client.is_daemon_running:
            return 0
        workers = client.get_number_of_workers(timeout=int(PATIENCE))
        self.verdi("daemon", "stop", "--timeout", PATIENCE)
        return int(workers)

    def start(self, workers: int) -> None:
        """Start the daemon."""
        self.verdi("daemon", "start", "--timeout", PATIENCE, str(workers))

    def restore_tasks(self) -> list[int]:
        """Give every process that has none a task at the broker, in the whole profile; the daemon must be stopped."""
        said = self.verdi("process", "repair", "--force")
        return [int(pk) for pk in re.findall(r"Revived process `(\d+)`", said)]

    def kill(self, node: orm.ProcessNode, seconds: float) -> bool:
        """Kill a process and wait for its end; whether it has ended in that time."""
        self.verdi("process", "kill", "--force", str(node.pk), may_fail=True)
        end = time.monotonic() + seconds
        while not node.is_terminated and time.monotonic() < end:
            time.sleep(0.5)
        return bool(node.is_terminated)

    def verdi(self, *arguments: str, may_fail: bool = False) -> str:
        """Run verdi on the profile and return what it said; SetupError quotes it if it fails."""
        command = [str(Path(sys.executable).with_name("verdi")), "-p", self.profile, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode != 0 and not may_fail:
            raise SetupError(f"`{' '.join(command)}` failed: {' '.join(said.split())[-400:]}")
        return said
