"""Pages of made-up campaigns: all of it on one page, nothing empty, nothing that runs, nothing from outside."""

import dataclasses
import html
import re
from html.parser import HTMLParser

import pytest

HOSTILE = "<script>alert('x')</script>\"'&"
CARDS = {
    "learning-forces", "learning-energy", "element-errors", "parity-forces", "parity-energy", "deviation-error",
    "calibration", "pairs", "atoms", "species", "volume", "energies", "forces", "ends", "verdicts", "chosen", "times",
    "cost",
}  # fmt: skip
OF_PREDICTIONS = {"learning-forces", "learning-energy", "element-errors", "parity-forces", "parity-energy"} | {
    "deviation-error", "calibration", "chosen",
}  # fmt: skip


def cards(text):
    """Name of each card -> whether it has a figure; a card without one says why."""
    found = {}
    for name, body in re.findall(r'<figure class="card" id="([\w-]+)">(.*?)</figure>', text, flags=re.DOTALL):
        drawn, absent = "<svg" in body, re.search(r'<p class="absent">[^<]{20,}\.</p>', body)
        assert drawn != bool(absent), f"{name}: either a figure or a sentence"
        if drawn:
            assert f'id="{name}-data-1"' in body, f"{name} shows no data"
        found[name] = drawn
    return found


def words(text):
    return html.unescape(re.sub(r"<[^>]+>", " ", text)).replace("\u2060", "")


class Ids(HTMLParser):
    """All ids of a page, and what its elements refer to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets, self.tags = [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href") and value.startswith("#"):
                self.targets.add(value[1:])
            self.targets.update(re.findall(r"url\(#([^)]+)\)", value or ""))


@pytest.fixture
def page():
    from aiida_argonaut.workflows.report.page import page

    return page


def test_a_whole_campaign_has_every_figure(page, whole):
    text = page(whole())
    assert cards(text) == dict.fromkeys(CARDS, True)
    told = words(text)
    assert "18 submitted = 17 ok + 1 lost" in told
    assert "force_cap" in told
    assert "Labels, by the source of the configuration" in told
    assert "Labels, by element" in told
    assert "1 core-hours" in told
    assert "Stopped: all 2 iterations after the seed set were done." in told


def test_ids_are_unique_and_every_reference_has_one(page, whole):
    found = Ids(page(whole()))
    assert len(found.ids) == len(set(found.ids))
    assert found.targets <= set(found.ids)
    assert len(found.targets) > 50


def test_nothing_runs_and_nothing_comes_from_outside(page, whole):
    text = page(whole())
    found = Ids(text)
    assert not found.tags & {"script", "iframe", "img", "object", "embed"}
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in text
    assert re.search(r'<link rel="icon" href="data:', text)


def test_the_same_story_gives_the_same_page(page, whole):
    assert page(whole()) == page(whole())


def test_what_people_wrote_is_text_and_nothing_else(page, whole, iteration):
    from aiida_argonaut.workflows.report.story import Said

    loss = dict.fromkeys(("reason", "formula", "source", "message", "configuration_id"), HOSTILE)
    told = whole()
    summary = {
        **told.summary, "label": HOSTILE, "exit_status": 402, "exit_message": HOSTILE,
        "iterations": [*told.iterations[:2], iteration(2, 9, lost=[loss], exit_message=HOSTILE, exit_status=416)],
        "parts": [
            {**{key: told.summary[key] for key in ("pk", "uuid", "state", "seconds")}, "exit_status": 1,
             "exit_message": HOSTILE, "changes": {HOSTILE: [HOSTILE, 2]}}
        ] * 2,
    }  # fmt: skip
    said = [Said(told.moment, "REPORT", 1, HOSTILE)]
    settings = {**told.settings, "label": {"labeller": "ase", "calculator": HOSTILE, "parameters": {HOSTILE: HOSTILE}}}
    text = page(
        dataclasses.replace(told, summary=summary, said=said, settings=settings, profile=HOSTILE,
                            provenance=[(HOSTILE, HOSTILE)])
    )  # fmt: skip
    assert "script" not in Ids(text).tags
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 12
    assert HOSTILE in words(text)


def without_predictions(story, iteration, frames, kind):
    loss = {"reason": "infrastructure", "formula": "H", "source": "dynamics", "message": "m", "configuration_id": "c"}
    running = {"state": "running", "exit_status": None}
    seed = iteration(0, 6)
    if kind == "begun":
        return story([], running)
    if kind == "seed":
        return story([seed], running, frames=frames(6))
    if kind == "seed-killed":
        stopped = iteration(0, 0, stage="label", labels={"submitted": 6, "ended": 2, "in_flight": 0}, errors={},
                            state="killed", exit_status=None)  # fmt: skip
        stopped.pop("dataset")
        return story([stopped], {"state": "killed", "exit_status": None})
    if kind == "lost":
        return story([seed, iteration(1, 6, ok=0, lost=[loss] * 4, errors={})], frames=frames(6))
    labelling = iteration(1, 6, state="waiting", exit_status=None, stage="label", errors={},
                          labels={"submitted": 6, "ended": 1, "in_flight": 2})  # fmt: skip
    return story([seed, labelling], running, frames=frames(6))


@pytest.mark.parametrize(
    ("kind", "words_of_it"),
    [
        ("begun", "No iteration has begun"),
        ("seed", "Only the seed set has been begun"),
        ("seed-killed", "6 submitted = 0 ok + 0 lost + 6 open"),
        ("lost", "All 4 labels of the latest iteration were lost"),
        ("labelling", "the latest iteration is at the stage “label”"),
    ],
)
def test_what_is_not_there_is_explained(kind, words_of_it, page, story, iteration, frames):
    told = without_predictions(story, iteration, frames, kind)
    text = page(told)
    found = cards(text)
    assert set(found) == CARDS
    assert not any(found[name] for name in OF_PREDICTIONS)
    assert found["pairs"] == bool(told.frames)
    assert words_of_it in words(text)


def test_single_atoms_have_no_forces_to_compare(page, whole, frames, fresh):
    labels = frames(4, atoms=1)
    still = fresh(1, 6, labels, error=0.0, deviation=0.0)
    text = page(dataclasses.replace(whole(), frames=labels, fresh=[still]))
    found = cards(text)
    assert {name for name, there in found.items() if not there} == OF_PREDICTIONS - {"learning-energy", "parity-energy"}
    assert "cells of one atom" in text


def test_a_committee_that_came_without_its_data_has_no_place_on_a_learning_curve(page, whole, frames, fresh):
    labels = frames(6)
    text = page(dataclasses.replace(whole(), frames=labels, fresh=[fresh(0, 0, labels)]))
    assert {name for name, there in cards(text).items() if not there} == {"learning-forces", "learning-energy"}
    assert "the committee it began with" in words(text)


def test_one_label_is_enough_for_a_page(page, whole, frames, fresh):
    labels = frames(1)
    assert all(cards(page(dataclasses.replace(whole(), frames=labels, fresh=[fresh(1, 6, labels)]))).values())


@pytest.mark.parametrize(
    ("summary", "badge", "words_of_it"),
    [
        ({"state": "killed", "exit_status": None}, "bad", "The campaign was killed"),
        ({"state": "excepted", "exit_status": None}, "bad", "excepted"),
        ({"exit_status": 402, "exit_message": "Iteration 2 failed"}, "bad", "Iteration 2 failed"),
        ({"state": "waiting", "exit_status": None}, "open", "this page shows the record at the time given"),
        ({}, "good", "finished well"),
    ],
)
def test_the_headline_says_how_it_ended(summary, badge, words_of_it, page, whole):
    told = whole()
    text = page(dataclasses.replace(told, summary={**told.summary, **summary}))
    assert f'class="badge {badge}"' in text
    assert words_of_it in text


def test_a_resumed_campaign_tells_its_parts_and_counts_labels_once(page, whole, iteration):
    told = whole()
    part = {"state": "killed", "exit_status": None, "exit_message": None, "seconds": 90.0}
    again = iteration(1, 12, part=2, pk=150)
    broken = iteration(1, 6, state="killed", exit_status=None, labels={"submitted": 6, "ended": 2, "in_flight": 0})
    summary = {
        **told.summary,
        "parts": [
            {**part, "pk": 1, "uuid": "u-1", "changes": {}},
            {**part, "pk": 2, "uuid": "u-2", "state": "finished", "exit_status": 0,
             "changes": {"stop.iterations": [1, 2]}},
        ],
        "iterations": [iteration(0, 6), broken, again, iteration(2, 17, ok=5, part=2)],
    }  # fmt: skip
    text = words(page(dataclasses.replace(told, summary=summary)))
    assert "17 submitted = 17 ok + 0 lost" in text
    assert text.count("stop.iterations 1 → 2") == 2
    assert "It was taken up again later" in text


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch, whole):
    from aiida_argonaut.workflows.report import page as module

    target = tmp_path / "report.html"
    module.write(whole(), target)
    assert target.read_text().rstrip().endswith("</html>")
    before = target.read_bytes()

    def broken(story):
        raise ValueError("no page")

    monkeypatch.setattr(module, "page", broken)
    with pytest.raises(ValueError, match="no page"):
        module.write(whole(), target)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
