"""Shards: any amount, in any pieces, through any kill, the same bytes."""

import contextlib
import functools
import hashlib
import json
import os

import pytest

from aiida_argonaut.mlip.extxyz import FrameError, read_atoms
from aiida_argonaut.mlip.generate.recipe import recipe_from_mapping
from aiida_argonaut.mlip.generate.shards import JOURNAL, Order, make_shard, write_file, write_folder
from aiida_argonaut.mlip.parallel import results
from aiida_argonaut.mlip.settings import SettingsError

RECIPE = {"source": "packing", "elements": ["H", "C", "O"], "atoms": [2, 4]}
HARD = {
    "source": "packing", "elements": ["Al"], "atoms": [1, 1], "species": [1, 1], "packing_fraction": [0.55, 0.55],
    "minimum_distance_ratio": [0.97, 1.0], "maximum_attempts": 1,
}  # fmt: skip
"""Loses most of its cells."""


def order(number, size=7, seed=3, start=0, recipe=RECIPE):
    return Order(recipe_from_mapping(recipe), seed, start, number, size)


def run_to_end(steps, stop_after=None):
    """The account, or None if it was left after so many steps; as a kill does, nothing is tidied up."""
    for turn in range(10**6):
        if turn == stop_after:
            return None
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def folder_bytes(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.glob("shard-*.extxyz")))


def backwards(function, tasks):
    """A cluster whose last task is done first."""
    for number in reversed(range(len(tasks))):
        yield number, function(*tasks[number])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "all.extxyz"
    account = run_to_end(write_file(order(40), path, results))
    assert (account["asked"], account["made"], account["lost"]) == (40, 40, [])
    assert account["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    return path.read_bytes()


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
@pytest.mark.parametrize("run", [results, backwards])
def test_size_and_order_do_not_matter(whole, tmp_path, size, run):
    account = run_to_end(write_folder(order(40, size), tmp_path / "out", run))
    assert folder_bytes(tmp_path / "out") == whole
    assert account["sha256"] == hashlib.sha256(whole).hexdigest()
    run_to_end(write_file(order(40, size), tmp_path / "one.extxyz", run))
    assert (tmp_path / "one.extxyz").read_bytes() == whole
    assert len(read_atoms(tmp_path / "out")) == 40


def test_continues_without_doing_anything_twice(whole, tmp_path):
    done = []

    def counted(function, tasks):
        for number, task in enumerate(tasks):
            done.append(task[2:])
            yield number, function(*task)

    folder = tmp_path / "out"
    assert run_to_end(write_folder(order(40), folder, counted), stop_after=4) is None
    first = list(done)
    assert json.loads((folder / "generated.json").read_text())["complete"] is False
    run_to_end(write_folder(order(40), folder, counted))
    assert folder_bytes(folder) == whole
    assert len(set(done)) == 6
    assert len(done) - len(set(done)) <= 1, "only the shard in hand may be done again"
    done.clear()
    again = run_to_end(write_folder(order(40), folder, counted))
    assert (done, again["made"]) == ([], 40)
    assert first


def test_what_was_damaged_is_made_again(whole, tmp_path):
    folder = tmp_path / "out"
    run_to_end(write_folder(order(40), folder, results))
    (folder / "shard-00002.extxyz").write_text("2\n")
    (folder / "shard-00004.extxyz").unlink()
    with (folder / JOURNAL).open("a") as journal:
        journal.write('{"shard": 3, "fir')
    run_to_end(write_folder(order(40), folder, results))
    assert folder_bytes(folder) == whole


def test_goes_on_with_more(whole, tmp_path):
    folder = tmp_path / "out"
    run_to_end(write_folder(order(16), folder, results))
    assert len(read_atoms(folder)) == 16
    account = run_to_end(write_folder(order(40), folder, results))
    assert folder_bytes(folder) == whole
    assert account["made"] == 40
    with pytest.raises(SettingsError, match="begun with asked 40, now 16"):
        run_to_end(write_folder(order(16), folder, results))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 4}, "begun with seed 3, now 4"),
        ({"start": 1}, "begun with start 0, now 1"),
        ({"size": 8}, "begun with shard_size 7, now 8"),
        ({"recipe": {**RECIPE, "atoms": [2, 5]}}, "begun with recipe_hash"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, other, message):
    run_to_end(write_folder(order(10), tmp_path, results))
    before = folder_bytes(tmp_path)
    with pytest.raises(SettingsError, match=message):
        run_to_end(write_folder(order(10, **other), tmp_path, results))
    assert folder_bytes(tmp_path) == before


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("\\documentclass")
    with pytest.raises(SettingsError, match=r"holds thesis\.tex but no generated\.json"):
        run_to_end(write_folder(order(10), tmp_path, results))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "generated.json").write_text("{")
    with pytest.raises(SettingsError, match="cannot be read"):
        run_to_end(write_folder(order(10), tmp_path, results))


def test_two_at_once_are_one_too_many(tmp_path):
    steps = write_folder(order(40), tmp_path, results)
    next(steps)
    with pytest.raises(SettingsError, match="another process is writing"):
        run_to_end(write_folder(order(40), tmp_path, results))
    steps.close()
    assert run_to_end(write_folder(order(40), tmp_path, results))["made"] == 40


def test_an_interrupted_file_is_no_file(tmp_path):
    steps = write_file(order(40), tmp_path / "one.extxyz", results)
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_losses_are_counted_and_named_whatever_the_shards(tmp_path):
    accounts = []
    for size in (5, 30):
        hard = functools.partial(order, 30, size, recipe=HARD)
        accounts.append(run_to_end(write_folder(hard(), tmp_path / str(size), results)))
    assert accounts[0] == accounts[1]
    lost = accounts[0]["lost"]
    assert 5 < len(lost) < 30
    assert accounts[0]["made"] + len(lost) == 30
    assert len(read_atoms(tmp_path / "5")) == accounts[0]["made"]
    assert {loss["source"] for loss in lost} == {"packing"}
    assert all(f"index {loss['index']}:" in loss["message"] for loss in lost)
    made = {int(atoms.info["seed"].split("/")[1]) for atoms in read_atoms(tmp_path / "30")}
    assert made | {loss["index"] for loss in lost} == set(range(30))


def test_more_than_there_are_is_refused_before_any_work():
    counted = recipe_from_mapping({"sources": [{**RECIPE, "count": 5}]})
    assert make_shard(counted, 0, 0, 5).made == 5
    with pytest.raises(SettingsError, match=r"indices 2 to 6: .*end after 5 configurations"):
        Order(counted, 0, 2, 5)


def test_two_writers_of_one_file_leave_a_whole_one(tmp_path):
    """The one that ends last wins, and neither writes into what the other has begun."""
    path = tmp_path / "one.extxyz"
    slow = write_file(order(40), path, results)
    next(slow)
    pid = os.getpid()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.getpid", lambda: pid + 1)
        other = run_to_end(write_file(order(20, seed=4), path, results))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == other["sha256"]
    account = run_to_end(slow)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == account["sha256"]
    assert [each.name for each in tmp_path.iterdir()] == ["one.extxyz"]


def test_who_comes_second_changes_nothing(tmp_path):
    assert run_to_end(write_folder(order(40), tmp_path, results))["made"] == 40
    steps = write_folder(order(40), tmp_path, results)
    next(steps)
    before = (tmp_path / "generated.json").read_bytes()
    with pytest.raises(SettingsError, match="another process is writing"):
        run_to_end(write_folder(order(80), tmp_path, results))
    assert (tmp_path / "generated.json").read_bytes() == before
    steps.close()
    assert len(read_atoms(tmp_path)) == 40


def test_what_a_kill_leaves_of_the_first_file_is_no_obstacle(whole, tmp_path):
    (tmp_path / ".generated.json.partial").write_text("{")
    run_to_end(write_folder(order(40), tmp_path, results))
    assert folder_bytes(tmp_path) == whole


def test_a_torn_line_does_not_swallow_the_next(tmp_path):
    run_to_end(write_folder(order(40), tmp_path, results))
    lines = (tmp_path / JOURNAL).read_text().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_text("".join(lines[:4]) + lines[4][:20])
    run_to_end(write_folder(order(40), tmp_path, results))
    known = []
    for line in (tmp_path / JOURNAL).read_text().splitlines():
        with contextlib.suppress(ValueError):
            known.append(json.loads(line)["shard"])
    assert sorted(known) == list(range(6))


def test_a_folder_that_lacks_a_shard_is_not_read(tmp_path):
    run_to_end(write_folder(order(40), tmp_path, results))
    (tmp_path / "shard-00002.extxyz").unlink()
    with pytest.raises(FrameError, match=r"shard-00002\.extxyz is missing"):
        read_atoms(tmp_path)


def test_a_folder_is_finished_with_the_versions_that_it_was_begun_with(tmp_path, monkeypatch):
    run_to_end(write_folder(order(10), tmp_path, results))
    monkeypatch.setattr("aiida_argonaut.mlip.generate.shards.version", lambda package: "0")
    with pytest.raises(SettingsError, match="begun with versions"):
        run_to_end(write_folder(order(20), tmp_path, results))
