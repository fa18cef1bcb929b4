"""Workers that are cut off from their broker get a fresh start, some times."""

import pytest

from aiida_argonaut.workflows.cli import watching
from aiida_argonaut.workflows.setup import SetupError


@pytest.fixture
def asked(monkeypatch):
    """What the daemon is asked for, in order."""
    words = []

    class Daemon:
        def __init__(self, profile):
            assert profile == "mine"

        def stop(self):
            words.append("stop")
            return 3

        def restore_tasks(self):
            words.append("restore")

        def start(self, workers):
            words.append(f"start {workers}")

    monkeypatch.setattr(watching, "Daemon", Daemon)
    monkeypatch.setattr(watching, "daemon_is_running", lambda: True)
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: None)
    return words


def test_workers_that_hear_their_broker_are_left_alone(asked, monkeypatch):
    answers = iter([False, True, False])  # the second time, they were only starting
    monkeypatch.setattr(watching, "workers_are_cut_off", lambda: next(answers))
    pause = watching.Pause("mine", 1.0, "")
    pause()
    pause()
    assert asked == []


def test_workers_that_are_cut_off_get_a_fresh_start(asked, monkeypatch, capsys):
    monkeypatch.setattr(watching, "workers_are_cut_off", lambda: True)
    pause = watching.Pause("mine", 1.0, "")
    pause()
    assert asked == ["stop", "restore", "start 3"]
    assert "nothing is lost" in capsys.readouterr().err
    pause()
    pause()
    with pytest.raises(SetupError, match="after 3 fresh starts"):
        pause()


def test_pauses_are_longer_where_a_look_takes_long(asked, monkeypatch):
    slept = []
    clock = iter([0.0, 0.01, 0.02, 0.42, 0.43, 9.0, 9.1])  # CPU seconds: before and after each look
    monkeypatch.setattr(watching, "workers_are_cut_off", lambda: False)
    monkeypatch.setattr(watching.time, "sleep", slept.append)
    monkeypatch.setattr(watching.time, "process_time", lambda: next(clock))
    pause = watching.Pause("mine", 1.0, "")
    for _ in range(3):
        pause()
    assert slept == pytest.approx([1.0, 10.0, 30.0])
