"""Parallel: processes and a real Dask cluster, whose workers are killed; addresses that lead nowhere."""

import functools
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from distributed import Client, LocalCluster

from aiida_argonaut.mlip.generate.recipe import recipe_from_mapping
from aiida_argonaut.mlip.generate.shards import Order, write_folder
from aiida_argonaut.mlip.parallel import WorkerError, results
from aiida_argonaut.mlip.settings import SettingsError

RECIPE = {"source": "packing", "atoms": [2, 8]}


def slow_square(number, seconds):
    time.sleep(seconds)
    return number, number**2, os.getpid()


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(number, folder):
    mark = folder / str(number)
    if number % 5 == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def fail(number):
    raise ValueError(f"task {number} was bad")


def test_results_are_the_same_in_other_processes():
    tasks = [(number, 0.01) for number in range(30)]
    alone, shared = list(results(slow_square, tasks)), list(results(slow_square, tasks, workers=2))
    assert [result[0] for result in alone] == list(range(30))
    assert sorted((n, r[:2]) for n, r in shared) == [(n, r[:2]) for n, r in alone]
    assert len({r[2] for _, r in shared}) == 2
    assert os.getpid() not in {r[2] for _, r in shared}


def test_exceptions_are_passed_on():
    with pytest.raises(ValueError, match=r"task [01] was bad"):
        list(results(fail, [(0,), (1,)], workers=2))


def test_a_task_that_kills_its_workers_is_given_up():
    with pytest.raises(WorkerError, match=r"task [01]: its workers died again and again"):
        list(results(die, [(0,), (1,)], workers=2))


def test_a_task_whose_worker_died_is_done_again(tmp_path):
    tasks = [(number, tmp_path) for number in range(16)]
    assert sorted(results(die_once, tasks, workers=2)) == [(number, number**2) for number in range(16)]
    assert len(list(tmp_path.iterdir())) == 3


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Killed, without a chance to say so: nobody is left who waits for work for ever."""
    (tmp_path / "squares.py").write_text("""
import os, time
from aiida_argonaut.mlip.parallel import results

def own(number):
    time.sleep(0.1)
    return os.getpid()

if __name__ == "__main__":
    for number, pid in results(own, [(n,) for n in range(1000)], workers=2):
        print(pid, flush=True)
""")
    begun = subprocess.Popen([sys.executable, tmp_path / "squares.py"], stdout=subprocess.PIPE, text=True)
    workers = {int(begun.stdout.readline()) for _ in range(6)}
    begun.kill()
    begun.wait()
    end = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_memory_stays_bounded():
    """A first task that takes long does not let the others run ahead without end."""
    tasks = [(number, 1.5 if number == 0 else 0.0) for number in range(60)]
    arrived = [number for number, _ in results(slow_square, tasks, workers=2)]
    assert sorted(arrived) == list(range(60))
    assert arrived.index(0) <= 8


def run_to_end(steps, during=lambda done: None):
    try:
        while True:
            during(next(steps))
    except StopIteration as end:
        return end.value


def test_killed_workers_lose_nothing(tmp_path):
    """Two workers of a running scheduler are killed, one after the other, in mid-run."""
    order = Order(recipe_from_mapping(RECIPE), 1, 0, 6000, 100)
    expected = run_to_end(write_folder(order, tmp_path / "alone", results))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        killed = []

        def kill(done):
            if len(killed) < 2 and done > 1000 * (1 + len(killed)):
                with Client(cluster) as client:
                    pids = sorted(set(client.run(os.getpid).values()) - set(killed))
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

        run = functools.partial(results, scheduler=cluster.scheduler_address)
        found = run_to_end(write_folder(order, tmp_path / "shared", run), kill)
    assert len(killed) == 2
    assert found == expected
    whole = b"".join(path.read_bytes() for path in sorted((tmp_path / "shared").glob("shard-*.extxyz")))
    assert hashlib.sha256(whole).hexdigest() == expected["sha256"]
    assert len((tmp_path / "shared" / "shards.jsonl").read_text().splitlines()) == 60, "no shard was written twice"


def test_a_scheduler_without_workers_is_waited_for(capfd):
    with LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as cluster:
        timer = threading.Timer(2.0, cluster.scale, args=(1,))
        timer.start()
        arrived = list(results(slow_square, [(3, 0.0)], scheduler=cluster.scheduler_address))
        timer.join()
    assert arrived[0][1][:2] == (3, 9)
    assert "waiting for its first worker" in capfd.readouterr().err


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "tcp://no-such-host.invalid:8786"])
def test_no_scheduler(address, monkeypatch):
    monkeypatch.setattr("aiida_argonaut.mlip.parallel.PATIENCE", 2.0)
    with pytest.raises(SettingsError, match="no answer"):
        list(results(slow_square, [(1, 0)], scheduler=address))


def test_workers_of_another_version_are_refused(monkeypatch):
    with LocalCluster(n_workers=1, dashboard_address=None, silence_logs=50) as cluster:
        monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.0")
        with pytest.raises(WorkerError, match=r"aiida-argonaut .*, expected 0.0.0 as here"):
            list(results(slow_square, [(1, 0)], scheduler=cluster.scheduler_address))
