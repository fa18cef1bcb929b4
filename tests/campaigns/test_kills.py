"""Two rows of the kill table (benchmarks/kill_table.py): a compute job, and everything at once, as in a power cut."""

import importlib.util
import json
import re
import time
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


LOSE_REMOTE_FOLDER = """
import sys
from aiida import load_profile, orm
load_profile()
from aiida.manage import get_manager
from sqlalchemy import text
campaign = orm.load_node(int(sys.argv[1]))
label = next(n for n in campaign.called_descendants if n.process_label == "LabelAseCalculation")
session = get_manager().get_profile_storage().get_session()
session.execute(text(f"DELETE FROM db_dblink WHERE input_id = {label.pk} AND label = 'remote_folder'"))
session.commit()
print(label.pk)
"""
"""Does to a real calculation what a kill between its end and its outputs does (aiida-core 2.9.4)."""
COMPUTED = """
import sys
from aiida import load_profile, orm
load_profile()
campaign = orm.load_node(int(sys.argv[1]))
labels = [n for n in campaign.called_descendants if n.process_label == "LabelAseCalculation"]
print(sum(not n.base.caching.is_created_from_cache for n in labels), len(labels))
"""


@pytest.fixture(scope="module")
def kills():
    """The benchmark as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "kill_table.py"
    spec = importlib.util.spec_from_file_location("kill_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def undisturbed(deployment, kills):
    """The site, how long the campaign takes when nothing is killed, and what comes of it."""
    (deployment.folder / "campaign.yaml").write_text(yaml.safe_dump(kills.CAMPAIGN))
    where = kills.Site(deployment.folder)
    began = time.monotonic()
    last, remedies = kills.to_the_end(where, kills.launch(where))
    assert not remedies
    return where, time.monotonic() - began, json.loads(where.run("python", "-c", kills.FACTS, last)), last


def test_a_damaged_calculation_is_barred_and_computed_again(undisturbed):
    where, _, _, pk = undisturbed
    damaged = where.run("python", "-c", LOSE_REMOTE_FOLDER, pk).strip()
    said = where.run("argonaut", "repair", pk)
    assert f"LabelAseCalculation <{damaged}> ended 0 without remote_folder: barred 1 nodes from the cache" in said
    assert "1 things mended" in said
    again = re.match(r"campaign (\d+)", where.run("argonaut", "launch", "campaign.yaml"))[1]
    where.run("argonaut", "follow", again)
    assert where.run("python", "-c", COMPUTED, again).split()[0] == "1", "all but the damaged label come from the cache"
    assert where.run("argonaut", "repair", pk).endswith("nothing was damaged\n")


@pytest.mark.parametrize("target", ["job", "everything"])
def test_what_was_killed_ends_as_if_nothing_had_been(undisturbed, kills, target):
    where, duration, truth, _ = undisturbed
    assert [len(fact["labels"]) for fact in truth] == [6, 3]
    row = kills.trial(where, kills.TARGETS.index(target), 1, duration, truth)
    assert row["killed"] >= (4 if target == "everything" else 1)
    assert row["labels_accounted_for"]
    assert row["same_content"], row
