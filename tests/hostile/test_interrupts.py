"""Ctrl-C while a command computes: exit code 130, one word, and no half-written file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ARGONAUT = Path(sys.executable).parent / "argonaut"
ENDLESS = "steps: 1000000\nrecords: 1000000\ncheckpoint_seconds: 0.5\n"
CALMLY = (
    "steps: 100000000\nsample_interval: 100000000\ntimestep_fs: 1e-9\nminimum_distance_ratio: 1e-6\n"
    "stop_deviation: 1e9\nmax_force: 1e12\nmax_temperature_K: 1e12\n"
)
"""Nothing moves, and nothing is stopped."""


def files(folder):
    """Paths of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "begun", "kept"),
    [
        pytest.param("generate recipe.yaml -n 1000000 -o out.extxyz", ".out.extxyz.*partial", (), id="generate"),
        pytest.param(
            "generate recipe.yaml -n 1000000 --workers 1 -o out", "out/shards.jsonl", ("out/",), id="a folder"
        ),
        pytest.param("deduplicate long.extxyz -o out.extxyz", ".out.extxyz.partial", (), id="deduplicate"),
        pytest.param(
            "explore model starts.extxyz -o out --config calmly.yaml", "out/.frames.extxyz.partial", (), id="explore"
        ),
        pytest.param(
            "train dataset -o out --config endless.yaml",
            "out/checkpoints",
            ("out/checkpoints/", "out/metrics.jsonl"),
            id="train",
        ),
    ],
)
def test_an_interrupt_leaves_no_half_file(command, begun, kept, folder, tmp_path):
    (folder / "endless.yaml").write_text(ENDLESS)
    (folder / "calmly.yaml").write_text(CALMLY)
    (folder / "long.extxyz").write_text((folder / "starts.extxyz").read_text() * 10_000)
    before = files(folder)
    environment = {**os.environ, "AIIDA_PATH": str(tmp_path)}
    running = subprocess.Popen(
        [ARGONAUT, *command.split()], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )  # fmt: skip
    try:
        for _ in range(600):
            if any(folder.glob(begun)) or running.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "argonaut: interrupted"
    assert {name for name in files(folder) - before if not name.startswith(kept)} == set()
