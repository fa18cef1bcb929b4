"""The same function for many arguments: in this process, in others on this machine, or on a Dask cluster.

A task whose worker dies is done again by another; no more tasks are in flight than a few per worker, so that memory
stays bounded however many there are.

On one machine the workers are plain processes rather than a Dask cluster: they start sooner, leave the cores to the
work, and listen on no port.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from .settings import SettingsError

AHEAD = 4
"""Tasks per worker by which the newest one that was started may be ahead of the oldest one that is not done."""
FAILURES = 4
"""Processes of this machine that one task may lose before it is given up; a cluster has a number of its own."""
PATIENCE = 20.0
"""s to wait for the answer of a scheduler."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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
    again and again; exceptions of the function are passed on.
    """
    if scheduler is None and (workers == 1 or len(tasks) < 2):
        for number, task in enumerate(tasks):
            yield number, function(*task)
        return
    if scheduler is None:
        yield from _pooled(min(workers, len(tasks)), function, tasks)
        return
    with _client(scheduler) as client:
        yield from _distributed(client, function, tasks)


def _pooled(workers: int, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    waiting, deaths = deque(range(len(tasks))), Counter[int]()
    while waiting:
        running: dict[Future[Any], int] = {}
        with _processes(workers) as pool:
            try:
                while waiting or running:
                    newest = min(running.values(), default=waiting[0] if waiting else 0) + AHEAD * workers
                    while waiting and waiting[0] < newest:
                        future = _submit(pool, function, tasks[waiting[0]])
                        running[future] = waiting.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield running.pop(future), result
            except BrokenProcessPool as error:  # a worker died, and its pool with it
                lost = sorted(running.values())
                deaths.update(lost)
                if max(deaths.values()) >= FAILURES:
                    raise WorkerError(_given_up(deaths.most_common(1)[0][0])) from error
                waiting.extendleft(reversed(lost))


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once when the block ends, however it ends, or when this process dies."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin_worker)
    try:
        yield pool
    finally:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _submit(pool: ProcessPoolExecutor, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Future[Any]:
    """Submit; a worker that this starts never sees an interrupt from the keyboard, which is for this process."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(function, *arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _given_up(number: int) -> str:
    return f"task {number}: its workers died again and again; give them more memory, or use fewer of them"


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
            raise WorkerError(_given_up(number)) from error
        except CancelledError as error:
            raise WorkerError(
                f"the scheduler is gone, with {len(tasks) - begun + len(running) + 1} of {len(tasks)} tasks to be "
                "done; what is written stays"
            ) from error
        yield number, result


@contextlib.contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    for name in ("distributed", "tornado"):  # what they log of a death is told by our own errors
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with _connected(scheduler) as client:
        _check_workers(client, scheduler)
        yield client


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
