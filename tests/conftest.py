"""What tests share: AiiDA profiles that leave no trace, and a deployment made by the commands a user types.

Nothing here imports AiiDA before a fixture asks for it, so that tests of mlip and dft_inputs are independent of it.
AiiDA makes its folder on import: AIIDA_PATH points to a temporary one from the start, so that no ~/.aiida is touched.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

BIN = Path(sys.executable).parent
COUNTER = itertools.count()
SUMMARIES = """
import json, sys, time
from aiida import load_profile
load_profile("argonaut")
from aiida_argonaut.provenance_db.queries import campaign_summary, load_campaign
while True:
    print(json.dumps(campaign_summary(load_campaign(sys.argv[1]))), flush=True)
    time.sleep(0.3)
"""


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


class Deployment:
    """A folder with an AiiDA configuration of its own, in which commands run as a user would run them."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {
            **os.environ,
            "AIIDA_PATH": str(self.folder),
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        }

    def run(self, *command, exit_code=0, timeout=900):
        """Run a command; a return code other than `exit_code` (None: any) fails the test with what it said."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
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
        """Wait until the summary of a running campaign fulfils a condition, and return it.

        One process looks again and again: a command for each look would take the cores from the campaign.
        """
        end = time.monotonic() + seconds
        command = [sys.executable, "-c", SUMMARIES, str(pk)]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as look:
            try:
                for line in look.stdout:
                    summary = json.loads(line)
                    if told(summary):
                        return summary
                    assert summary["state"] not in ("finished", "excepted", "killed"), summary
                    assert time.monotonic() < end, summary
            finally:
                look.kill()
        pytest.fail("the summaries ended")

    def stop(self):
        """Stop the daemon, whatever has happened before, and wait until its processes are gone."""
        for _ in range(20):  # a busy daemon may not answer at once
            for command in (["stop", "--timeout", "60"], ["status"]):
                done = subprocess.run(
                    [BIN / "verdi", "daemon", *command], env=self.environment, capture_output=True, check=False
                )
            if done.returncode != 0:
                break
            time.sleep(0.5)


@pytest.fixture(scope="session")
def deployment():
    """`argonaut setup` and `verdi daemon start 2` in a folder of their own; all stopped and removed at the end."""
    if shutil.which("pw.x") is None:
        pytest.skip("pw.x is not on PATH; `make test` installs it")
    made = Deployment(tempfile.mkdtemp(prefix="argonaut-deployment-"))
    try:
        made.run("argonaut", "setup")
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
