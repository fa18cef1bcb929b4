"""A shard whose labeller fails as a whole loses its own labels only, and only after every attempt.

The labelling command is a script: it fails for every shard that holds a helium atom, and works for the others.
"""

import pytest

pytestmark = pytest.mark.timeout(300)

COMMAND = """#!/bin/bash
if grep -q '^He' configurations/frames.extxyz; then echo "out of memory" >&2; exit 137; fi
mkdir -p output
echo '{"submitted": 1, "ok": 0, "lost": [{"configuration_id": "c0", "formula": "X", "source": "s",
      "reason": "calculator_failed", "message": "m"}]}' > output/losses.json
"""


@pytest.fixture
def label(profile, scripted_code, tmp_path, configurations):
    """Label configurations in shards of one; returns the finished work chain."""
    from aiida import orm
    from aiida.engine import run_get_node

    from aiida_argonaut.workflows.config import default_options
    from aiida_argonaut.workflows.data import ConfigurationsData
    from aiida_argonaut.workflows.label import LabelWorkChain

    code = scripted_code(COMMAND)
    settings = orm.Dict(
        {"labeller": "ase", "max_jobs": 2, "max_attempts": 2, "shard_size": 1, "options": default_options(),
         "calculator": "module:Class", "parameters": {}, "protocol": {}}
    )  # fmt: skip

    def labelled(*indices):
        chosen = [configurations[index] for index in indices]
        node = ConfigurationsData.from_configurations(chosen, tmp_path).store()
        return run_get_node(LabelWorkChain, configurations=node, settings=settings, code=code)[1]

    return labelled


def test_a_lost_shard_loses_its_own_labels_only(label, configurations):
    node = label(0, 1)
    assert node.is_finished_ok, node.exit_message
    losses = node.outputs.losses.get_dict()
    assert (losses["submitted"], losses["ok"], len(losses["lost"])) == (2, 0, 2)
    assert losses["lost"][1]["reason"] == "infrastructure"
    assert losses["lost"][1]["configuration_id"] == configurations[1].configuration_id
    attempts = sorted(
        link.link_label for link in node.base.links.get_outgoing().all() if "shard_001" in link.link_label
    )
    assert attempts == ["shard_001", "shard_001_attempt_2"]


def test_no_shard_at_all_is_an_error_that_quotes_the_last_one(label):
    node = label(1)
    assert node.exit_status == 421
    assert "out of memory" in node.exit_message
