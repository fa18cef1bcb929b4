"""The report of a real campaign, made by the command a user types and looked at in a real browser."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HOSTILE = "<script>alert(1)<script> & \"quotes\" 'here'"
CAMPAIGN = {
    "seed": 46,
    "generate": {
        "recipe": {
            "source": "packing",
            "elements": ["H", "C", "N", "O", "He"],
            "atoms": [2, 3],
            "minimum_distance_ratio": [0.9, 1.0],
        },
        "seed_set": 6,
        "starts": 4,
    },
    "label": {"labeller": "ase", "calculator": "ase.calculators.emt:EMT", "shard_size": 4},
    "train": {"members": 2, "steps": 15, "records": 3},
    "explore": {"dataset_starts": 2, "steps": 10, "min_steps": 5, "sample_interval": 5},
    "select": {"count": 5, "random_fraction": 0.4},
    "stop": {"iterations": 1},
}

"""EMT knows no helium: labels with it are lost."""


@pytest.fixture(scope="module")
def browser_module():
    """tests/browser.py."""
    spec = importlib.util.spec_from_file_location("argonaut_browser", Path(__file__).parents[1] / "browser.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser(browser_module):
    path = browser_module.executable()
    if path is None:
        pytest.skip("no chromium on PATH: pages are not looked at")
    with browser_module.Browser(path) as made:
        yield made


@pytest.fixture(scope="module")
def early(deployment):
    """(pk of a campaign whose file has a hostile name, its report made right after launch)."""
    path = deployment.folder / f"{HOSTILE}.yaml"
    path.write_text(yaml.safe_dump(CAMPAIGN))
    pk = deployment.launch(path)
    deployment.run("argonaut", "report", pk, "-o", "early.html")
    return pk, deployment.folder / "early.html"


@pytest.fixture(scope="module")
def finished(deployment, early):
    """(pk, report of the finished campaign), after reports at whatever moments of its life they came to."""
    pk, _ = early
    report = deployment.folder / "report.html"
    while not report.exists() or "The campaign is running" in report.read_text():
        deployment.run("argonaut", "report", pk, "-o", "report.html")
    return pk, report


@pytest.fixture(scope="module")
def resumed(deployment, finished):
    """(pk, pk of the campaign that continues it, report of the first, which tells of both)."""
    said = deployment.run("argonaut", "resume", finished[0], "--set", "stop.iterations=2").stdout
    continued = int(re.search(r"campaign (\d+) goes on", said)[1])
    deployment.run("argonaut", "follow", continued)
    deployment.run("argonaut", "report", finished[0], "-o", "resumed.html")
    return finished[0], continued, deployment.folder / "resumed.html"


@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_of_a_running_campaign_is_readable(width, browser, browser_module, early):
    assert browser_module.faults(browser, early[1], width) == []
    assert browser.run("document.querySelectorAll('p.absent').length") >= 10
    assert "The campaign is running" in browser.run("document.body.textContent")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_of_a_finished_campaign_is_readable(width, browser, browser_module, finished):
    assert browser_module.faults(browser, finished[1], width) == []
    assert browser.run("document.querySelectorAll('figure svg').length") == 18
    assert browser.run("document.querySelector('h1').textContent") == HOSTILE
    assert browser.run("document.documentElement.lang") == "en"


def test_the_report_agrees_with_status(deployment, browser, browser_module, finished):
    pk, path = finished
    status = deployment.status(pk)
    browser.open(path.as_uri(), 1280)
    text = browser.run("document.body.textContent").replace("\u2060", "")
    submitted = sum(each["labels"]["submitted"] for each in status["iterations"])
    ok = sum(each["labels"]["ok"] for each in status["iterations"])
    assert 0 < ok < submitted
    assert f"{submitted} submitted = {ok} ok + {submitted - ok} lost" in text
    assert "calculator_failed" in text
    before = status["iterations"][1]["errors"]["before"]["forces_rmse_meV_per_A"]
    assert f"predicted before labelling: forces {before:.0f} meV/Å" in text
    assert status["uuid"] in text
    assert status["iterations"][1]["dataset"]["content_hash"] in text
    assert re.search(r"5 of 5 asked|Chosen of 5 asked", text)
    assert "all iterations done" in text


@pytest.mark.parametrize("width", [1280, 400])
def test_a_resumed_campaign_is_one_story(width, deployment, browser, browser_module, resumed):
    pk, continued, path = resumed
    assert browser_module.faults(browser, path, width) == []
    text = browser.run("document.body.textContent")
    assert "stop.iterations 1 → 2" in text
    assert f"Campaign {continued} goes on from here" in text
    assert deployment.status(pk)["parts"][0]["uuid"] in text
    assert browser.run("document.querySelectorAll('details.log').length") == 3


def test_a_report_makes_its_folder_but_not_for_what_is_no_campaign(deployment, finished):
    deployment.run("argonaut", "report", finished[0], "-o", "pages/report.html")
    assert (deployment.folder / "pages" / "report.html").stat().st_size > 1e5
    done = deployment.run("argonaut", "report", "999999", "-o", "other/report.html", exit_code=2)
    assert len(done.stderr.splitlines()) == 1
    assert "no such node" in done.stderr
    assert not (deployment.folder / "other").exists()
