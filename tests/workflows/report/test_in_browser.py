"""Pages as a reader sees them: in a real browser, wide and narrow, light and dark."""

import dataclasses

import pytest

WIDTHS = [(1280, False), (400, False), (800, True)]


@pytest.fixture
def shown(tmp_path):
    from aiida_argonaut.workflows.report.page import write

    def made(story):
        write(story, tmp_path / "report.html")
        return tmp_path / "report.html"

    return made


@pytest.mark.parametrize(("width", "dark"), WIDTHS)
def test_a_whole_campaign_is_readable(width, dark, browser, browser_module, shown, whole):
    assert browser_module.faults(browser, shown(whole()), width, dark) == []
    assert browser.run("document.querySelectorAll('svg').length") == 18


@pytest.mark.parametrize("width", [1280, 400])
def test_a_large_campaign_of_all_elements_is_readable(width, browser, browser_module, shown, whole, iteration, fresh):
    """Thirty iterations and long words: figures that are crowded, and tables wider than the page."""
    from ase.data import chemical_symbols

    from aiida_argonaut.mlip.frames import LabelledFrame

    def moved(frame, shift):
        numbers = (frame.configuration.numbers + shift) % 18 + 1
        return LabelledFrame(
            dataclasses.replace(frame.configuration, numbers=numbers), frame.energy, frame.forces, None, "p1"
        )

    base = whole().frames
    labels = [moved(frame, shift) for shift in range(18) for frame in base[:6]]
    long = {"reason": "infrastructure", "formula": "H" * 40, "source": "x" * 60, "message": "word" * 80,
            "configuration_id": "c" * 32}  # fmt: skip
    steps = [iteration(k, 6 + 6 * k, lost=[long] * 20) for k in range(31)]
    told = whole(settings={"train": {"elements": chemical_symbols[1:19]}, "stop": {"iterations": 30}})
    told = dataclasses.replace(
        told,
        summary={**told.summary, "iterations": steps, "label": "a-name-without-an-end-" * 6},
        frames=labels,
        fresh=[fresh(k, 6 * k, labels[k : k + 40]) for k in range(1, 31)],
        provenance=[("hash", "f" * 64)],
    )
    assert browser_module.faults(browser, shown(told), width) == []


def test_what_people_wrote_does_not_run(browser, browser_module, shown, whole):
    told = whole()
    label = "<img src=x onerror=\"console.error('ran')\"><script>console.error('ran')</script>"
    assert browser_module.faults(
        browser, shown(dataclasses.replace(told, summary={**told.summary, "label": label})), 1280
    ) == []  # fmt: skip
    assert browser.run("document.querySelector('h1').textContent") == label


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<main>", "<main><script>console.error('no')</script>", "console error"),
        ("<main>", "<main><img src='https://example.invalid/x.png'>", "request"),
        ("<main>", "<main><div style='width: 5000px'>x</div>", "px wide"),
        ("-data-", "-gone-", "shows no data"),
        ("font-size: 11px", "font-size: 7px", "' is "),
    ],
)
def test_faults_are_seen(old, new, expected, browser, browser_module, shown, whole):
    path = shown(whole())
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert any(expected in fault for fault in browser_module.faults(browser, path, 1280))
