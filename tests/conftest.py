"""What tests share: AiiDA profiles that leave no trace, and a deployment made by the commands a user types.

Nothing here imports AiiDA before a fixture asks for it, so that tests of mlip and dft_inputs are independent of it.
AiiDA makes its folder on import: AIIDA_PATH points to a temporary one from the start, so that no ~/.aiida is touched.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

BIN = Path(sys.executable).parent
COUNTER = itertools.count()
NO_LOGIN_SHELL = """
from aiida import load_profile, orm
load_profile()
orm.load_computer("localhost").configure(use_login_shell=False)
"""
"""A login shell may take longer than what AiiDA asks of it, once a second for every daemon worker."""
COMMANDS = """
import atexit, gc, importlib, json, os, pkgutil, signal, sys
code = 1
def leave():
    sys.stdout.flush(), sys.stderr.flush(), os._exit(code)
atexit.register(leave)  # the first is the last to be called: nothing is taken apart
from aiida.cmdline.commands import cmd_config, cmd_daemon, cmd_process, cmd_status
from aiida.cmdline.commands.cmd_verdi import verdi
from aiida.manage.configuration.settings import AiiDAConfigDir
from aiida.storage.sqlite_dos import backend
from aiida_argonaut import provenance_db, workflows
from aiida_argonaut.cli import argonaut
for package in (provenance_db, workflows):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
gc.freeze()
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)
signal.alarm(asked["timeout"])
os.chdir(asked["folder"])
os.environ.clear()
os.environ.update(asked["environment"])
for number, name in enumerate((os.devnull, *asked["files"])):
    os.dup2(os.open(name, os.O_WRONLY if number else os.O_RDONLY), number)
AiiDAConfigDir.set()
command, *words = asked["words"]
sys.argv = ["-c", *words[2:]] if command == "python" else [command, *words]
try:
    if command == "python":
        exec(compile(words[1], "-c", "exec"), {"__name__": "__main__"})
    else:
        {"argonaut": argonaut, "verdi": verdi}[command].main(words, prog_name=command)
    code = 0
except SystemExit as end:
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
    raise
"""
"""Runs commands as processes of their own that find everything imported: imports take longer than most commands."""


def pytest_configure(config):
    config._argonaut_aiida_path = os.environ["AIIDA_PATH"] = tempfile.mkdtemp(prefix="argonaut-tests-")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.addinivalue_line("filterwarnings", "ignore:Creating AiiDA configuration folder")
    config.addinivalue_line("filterwarnings", "ignore:Object of type <Db")


def pytest_unconfigure(config):
    shutil.rmtree(config._argonaut_aiida_path, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Files that take minutes come first, so that none of them runs alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def profile():
    """An empty AiiDA profile in memory, for this test alone; no daemon."""
    from aiida import load_profile
    from aiida.storage.sqlite_temp import SqliteTempBackend

    made = SqliteTempBackend.create_profile(f"test-{next(COUNTER)}")
    made.is_test_profile = True  # else a work chain looks for its children once in a minute
    return load_profile(made, allow_switch=True)


class Commands:
    """A process that has imported what commands need, and forks for each command that it is asked to run."""

    def __init__(self):
        environment = {**os.environ, "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMANDS], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, words, folder, environment, timeout):
        """As subprocess.run with captured output; `words` begin with argonaut, verdi, or python -c."""
        with tempfile.TemporaryDirectory() as scratch:
            files = [Path(scratch) / name for name in ("stdout", "stderr")]
            for path in files:
                path.touch()
            asked = {"words": words, "folder": str(folder), "environment": environment, "timeout": timeout,
                     "files": list(map(str, files))}  # fmt: skip
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            if code == -signal.SIGALRM:
                raise subprocess.TimeoutExpired(words, timeout)
            return subprocess.CompletedProcess(words, code, *(path.read_text() for path in files))

    def end(self):
        """Let the process end."""
        self.process.communicate()


class Deployment:
    """A folder with an AiiDA configuration of its own, in which commands run as a user would run them."""

    def __init__(self, folder, commands):
        self.folder, self.commands = Path(folder), commands
        self.environment = {
            **os.environ,
            "AIIDA_PATH": str(self.folder),
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        }

    def run(self, *command, folder=".", exit_code=0, timeout=900):
        """Run a command; a return code other than `exit_code` (None: any) fails the test with what it said."""
        words, place = [str(word) for word in command], self.folder / folder
        forked = words[0] in ("argonaut", "verdi") or words[:2] == ["python", "-c"]
        if forked and (self.folder / ".aiida").is_dir():  # what the very first one says is import's part, too
            done = self.commands.run(words, place, self.environment, timeout)
        else:
            done = subprocess.run(
                words, cwd=place, env=self.environment, capture_output=True, text=True, timeout=timeout,
                check=False,
            )  # fmt: skip
        if exit_code is not None and done.returncode != exit_code:
            text = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            pytest.fail(f"`{' '.join(words)}` ended {done.returncode}, expected {exit_code}:\n{text}")
        return done

    def launch(self, campaign):
        """Launch a campaign file and return its pk."""
        said = self.run("argonaut", "launch", campaign).stdout
        return int(re.match(r"campaign (\d+) is running", said)[1])

    def finish(self, campaign, exit_code=0):
        """Launch a campaign file, follow it to its end and return its pk."""
        pk = self.launch(campaign)
        self.run("argonaut", "follow", pk, exit_code=exit_code)
        return pk

    def status(self, pk, exit_code=0):
        """What `argonaut status --json` says."""
        return json.loads(self.run("argonaut", "status", pk, "--json", exit_code=exit_code).stdout)

    def until(self, pk, told, seconds=300):
        """Wait until the summary of a running campaign fulfils a condition, and return it."""
        end = time.monotonic() + seconds
        while not told(summary := self.status(pk, exit_code=None)):
            assert summary["state"] not in ("finished", "excepted", "killed"), summary
            assert time.monotonic() < end, summary
            time.sleep(0.3)
        return summary

    def stop(self):
        """Stop the daemon, whatever has happened before, and wait until its processes are gone."""
        for _ in range(20):  # a busy daemon may not answer at once
            self.run("verdi", "daemon", "stop", "--timeout", 60, exit_code=None)
            if self.run("verdi", "daemon", "status", exit_code=None).returncode != 0:
                break
            time.sleep(0.5)
        for process in psutil.process_iter():  # a supervisor that was killed leaves one that counts for it
            with contextlib.suppress(psutil.Error):
                if "circus" in (words := " ".join(process.cmdline())) and str(self.folder) in words:
                    process.kill()


@pytest.fixture(scope="session")
def browser_module():
    """tests/browser.py."""
    spec = importlib.util.spec_from_file_location("argonaut_browser", Path(__file__).with_name("browser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser(browser_module):
    path = browser_module.executable()
    if path is None:
        pytest.skip("no chromium on PATH: pages are not looked at")
    with browser_module.Browser(path) as made:
        yield made


@pytest.fixture(scope="session")
def deployments():
    """deployments(folder) -> a Deployment in which nothing is made yet."""
    commands = Commands()
    yield lambda folder: Deployment(folder, commands)
    commands.end()


@pytest.fixture(scope="session")
def deployment(deployments):
    """`argonaut setup` and `verdi daemon start 2` in a folder of their own; all stopped and removed at the end."""
    if shutil.which("pw.x") is None:
        pytest.skip("pw.x is not on PATH; `make test` installs it")
    made = deployments(tempfile.mkdtemp(prefix="argonaut-deployment-"))
    try:
        made.run("argonaut", "setup")
        made.run("python", "-c", NO_LOGIN_SHELL)
        made.run("verdi", "daemon", "start", "2")
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def record(deployment):
    """The deployment's profile, loaded in this process, to read (and plant) nodes."""
    from aiida import load_profile
    from aiida.manage.configuration import reset_config
    from aiida.manage.configuration.settings import AiiDAConfigDir

    before = AiiDAConfigDir.get()
    AiiDAConfigDir.set(deployment.folder / ".aiida")
    reset_config()
    yield load_profile("argonaut", allow_switch=True)
    from aiida.manage import get_manager

    get_manager().unload_profile()
    AiiDAConfigDir.set(before)
    reset_config()


@pytest.fixture
def configurations():
    """Four small cells: LiH, He2, Be2, and LiH again, larger."""
    from aiida_argonaut.mlip.frames import Configuration, Origin

    def pair(numbers, edge, seed):
        positions = [[0.0, 0.0, 0.0], [edge / 2, edge / 2, edge / 2]]
        return Configuration(numbers, positions, edge * np.eye(3), origin=Origin("packing", f"1/{seed}"))

    return [pair([3, 1], 2.9, 0), pair([2, 2], 2.5, 1), pair([4, 4], 3.0, 2), pair([3, 1], 3.3, 3)]


@pytest.fixture
def process(profile):
    """process(label, caller, link ...): a process node written by hand, as the record would hold it."""
    from aiida import orm
    from aiida.common.links import LinkType

    def made(label, caller=None, link="", state="finished", status=0, inputs=None, kind=orm.WorkChainNode):
        node = kind()
        calculation = isinstance(node, orm.CalculationNode)
        node.set_process_label(label)
        if state is not None:
            node.set_process_state(state)
        if state == "finished":
            node.set_exit_status(status)
        for port, data in (inputs or {}).items():
            node.base.links.add_incoming(data, LinkType.INPUT_CALC if calculation else LinkType.INPUT_WORK, port)
        if caller is not None:
            node.base.links.add_incoming(caller, LinkType.CALL_CALC if calculation else LinkType.CALL_WORK, link)
        return node.store()

    return made
