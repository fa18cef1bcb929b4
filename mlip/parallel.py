"""The same function for many arguments: in this process, on a local Dask cluster, or on one that runs already.

Dask carries what is merely parallel. A task whose worker dies is done again elsewhere; no more tasks are in flight than
a few per worker, so that memory stays bounded however many there are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .settings import SettingsError

AHEAD = 4
"""Tasks per worker by which the newest one that was started may be ahead of the oldest one that is not done."""
FAILURES = 8
"""Workers that one task may lose before it is given up."""
LOCAL = {
    "distributed.scheduler.allowed-failures": FAILURES,
    "distributed.scheduler.worker-saturation": float(AHEAD),
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.profile.enabled": False,
}
"""Settings of Dask for workers on this machine: what watches the work every few ms took a tenth of its time."""
PATIENCE = 20.0
"""s to wait for the answer of a scheduler."""


class WorkerError(ValueError):
    """Work that could not be done because workers are missing, die, or cannot do it."""


def own_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def results(
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    workers: int = 1,
    scheduler: str | None = None,
) -> Iterator[tuple[int, Any]]:
    """(number of the task, function(*task)) for every task, as they are done and in any order.

    :param workers: processes on this machine; 1 computes in this process.
    :param scheduler: address of a running dask.distributed scheduler, whose workers are used instead.

    Raises WorkerError if a scheduler does not answer, if its workers lack this package, or if a task's workers die
    FAILURES times; exceptions of the function are passed on.
    """
    if scheduler is None and (workers == 1 or len(tasks) < 2):
        for number, task in enumerate(tasks):
            yield number, function(*task)
        return
    with _client(min(workers, len(tasks)), scheduler) as client:
        yield from _distributed(client, function, tasks)


def _distributed(
    client: Any, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[int, Any]]:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker, as_completed

    running: dict[Any, int] = {}
    finished, begun = as_completed(), 0
    while begun < len(tasks) or running:
        window = AHEAD * max(1, len(client.nthreads()))
        while begun < len(tasks) and begun < min(running.values(), default=begun) + window:
            future = client.submit(function, *tasks[begun], pure=False)
            running[future], begun = begun, begun + 1
            finished.add(future)
        future = next(finished)
        number = running.pop(future)
        try:
            result = future.result()
        except KilledWorker as error:
            raise WorkerError(
                f"task {number}: its workers died {FAILURES} times; give them more memory, or use fewer of them"
            ) from error
        except CancelledError as error:
            raise WorkerError(
                f"the scheduler is gone, with {len(tasks) - begun + len(running) + 1} of {len(tasks)} tasks to be "
                "done; what is written stays"
            ) from error
        yield number, result


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    for name in ("distributed", "tornado"):  # what they log of a death is told by our own errors
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is not None:
        with _connected(scheduler) as client:
            _check_workers(client, scheduler)
            yield client
        return
    with contextlib.ExitStack() as opened:
        opened.enter_context(dask.config.set(LOCAL))
        with _starting_processes():
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50)
            opened.enter_context(cluster)
        yield opened.enter_context(Client(cluster))


@contextlib.contextmanager
def _starting_processes() -> Iterator[None]:
    """Interrupts wait until the end, for a cluster that is interrupted while it starts cannot be closed any more.

    Processes that are started meanwhile have no stderr: what goes wrong in them comes back as exceptions, and what they
    say of an interrupt from the keyboard, which reaches them too, is of no use.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    held: list[Any] = []
    signal.signal(signal.SIGINT, lambda *interrupt: held.append(interrupt))
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
        signal.signal(signal.SIGINT, handler)
        if held:
            handler(*held[0])


def _connected(scheduler: str) -> Any:
    from distributed import Client

    try:
        return Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        problem = " ".join(str(error).split())
        raise SettingsError(
            f"scheduler {scheduler!r}: no answer: {problem}; expected such as tcp://host:8786"
        ) from error


def _check_workers(client: Any, scheduler: str) -> None:
    """Wait for the first worker, and see that all have this version of the package."""
    if not client.nthreads():
        print(f"{scheduler}: waiting for its first worker", file=sys.stderr, flush=True)
        client.wait_for_workers(1)
    ours = _version()
    for worker, theirs in client.run(_version, on_error="return").items():
        if theirs != ours:
            raise WorkerError(f"{scheduler}: worker {worker} has aiida-argonaut {theirs}, expected {ours} as here")


def _version() -> str:
    from importlib.metadata import version

    return version("aiida-argonaut")
