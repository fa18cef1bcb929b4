"""How a long command says how far it is: a bar on a terminal, otherwise a plain line about every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """Pass on `items`, of which there are `total`, and say how many are done."""
    with Progress(title, total) as bar:
        for done, item in enumerate(items, start=1):
            yield item
            bar.update(done)


class Progress:
    """Context manager; call `update(done, text)` as often as convenient. Writes to standard error only."""

    def __init__(self, title: str, total: float = 1.0) -> None:
        self.title, self.total = title, total
        self._bar = RichProgress(console=Console(stderr=True)) if sys.stderr.isatty() else None
        self._task: TaskID | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: float, text: str = "") -> None:
        """`done` of `total`, with a word on how it goes."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, description=f"{self.title} {text}")
        elif time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            print(f"{self.title}: {100 * done / self.total:.0f} % {text}", file=sys.stderr, flush=True)
