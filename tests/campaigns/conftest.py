"""A browser for the pages that campaigns make."""

import importlib.util
from pathlib import Path

import pytest


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
