"""Between two looks at a process: what keeps it from going on is mended, or said."""

from __future__ import annotations

import time

import click

from ..daemon import Daemon
from ..setup import SetupError
from .profile import daemon_is_running, workers_are_cut_off

CUT_OFF_SECONDS = 60.0
"""Longer than workers take to start and the broker to write its status."""
FRESH_STARTS = 3
"""Of a daemon whose workers are cut off each time; then a person has to look."""
LOOK_SHARE, LONGEST_PAUSE = 0.04, 30.0
"""Of a core, and seconds: where a look at thousands of labels takes its time, pauses are longer."""


class Pause:
    """Waits for the next look; gives workers that are cut off from their broker a fresh start.

    They are where they stood still for more than six seconds (stopped, swapped, on a paused virtual machine): the
    broker of aiida-core 2.9.4 takes workers that do not answer for dead and never hears of them again.
    """

    def __init__(self, profile: str, seconds: float, advice: str) -> None:
        """`seconds` between looks; `advice` follows what is said where nothing can go on until a person acts."""
        self.profile, self.seconds, self.advice = profile, seconds, advice
        self.fresh_starts = 0
        self.looking_since = time.process_time()

    def __call__(self) -> None:
        """Wait. Raises SetupError where the daemon was stopped, or fresh starts do not help."""
        if not daemon_is_running():
            start = f"verdi -p {self.profile} daemon start"
            raise SetupError(f"the daemon has stopped, so nothing goes on; start it with `{start}`, {self.advice}")
        looked = time.process_time() - self.looking_since
        time.sleep(max(self.seconds, min(LONGEST_PAUSE, looked / LOOK_SHARE)))
        self.looking_since = time.process_time()
        if not workers_are_cut_off():
            return
        time.sleep(CUT_OFF_SECONDS)
        if not workers_are_cut_off():
            return
        if self.fresh_starts == FRESH_STARTS:
            raise SetupError(
                f"the daemon's workers do not hear their broker, after {FRESH_STARTS} fresh starts; "
                f"`verdi -p {self.profile} daemon logshow` may say why"
            )
        self.fresh_starts += 1
        click.echo("the daemon's workers have lost their broker: starting them afresh; nothing is lost", err=True)
        daemon = Daemon(self.profile)
        workers = daemon.stop()
        daemon.restore_tasks()
        daemon.start(workers or 1)
