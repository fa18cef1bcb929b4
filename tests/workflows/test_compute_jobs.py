"""Jobs whose commands really run: labels from a table, and a member that starts from another model."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(300)

COMMAND = f'#!/bin/bash\nexec "{Path(sys.executable).parent / "argonaut"}" "$@"\n'


@pytest.fixture
def run(profile, scripted_code):
    """run(entry point, **inputs) -> the finished job; its command is the `argonaut` of this environment."""
    from aiida import orm
    from aiida.engine import run_get_node
    from aiida.plugins import CalculationFactory

    code = scripted_code(COMMAND)

    def ran(name, settings, **inputs):
        return run_get_node(CalculationFactory(name), code=code, settings=orm.Dict(settings), **inputs)[1]

    return ran


@pytest.fixture
def dataset(profile, configurations, tmp_path):
    """The first three configurations with labels, as a stored node."""
    from aiida_argonaut.mlip.dataset import Dataset
    from aiida_argonaut.mlip.frames import LabelledFrame
    from aiida_argonaut.mlip.table import named
    from aiida_argonaut.workflows.data import DatasetData

    random = np.random.default_rng(0)
    frames = [
        LabelledFrame(c, -10.0 - k, random.normal(size=(2, 3)), None, "p1") for k, c in enumerate(configurations[:3])
    ]
    made = named(Dataset(tuple(frames), {"code": "other"}))
    return DatasetData.from_dataset(made, tmp_path / "dataset").store()


def test_labels_from_a_table(run, dataset, configurations, tmp_path):
    from aiida_argonaut.workflows.data import ConfigurationsData

    asked = ConfigurationsData.from_configurations(configurations[::-1], tmp_path).store()
    settings = {"protocol": {"code": "other"}, "protocol_hash": "p1"}
    node = run("argonaut.label_table", settings, configurations=asked, table=dataset)
    assert node.is_finished_ok, node.exit_message
    labels = node.outputs.labels.dataset()
    assert labels.content_hash == dataset.content_hash
    assert labels.protocol == {"code": "other"}
    losses = node.outputs.losses.get_dict()
    assert (losses["submitted"], losses["ok"]) == (4, 3)
    (lost,) = losses["lost"]
    assert (lost["reason"], lost["configuration_id"]) == ("not_in_table", configurations[3].configuration_id)


def test_with_no_entry_found_there_are_losses_only(run, dataset, configurations, tmp_path):
    from aiida_argonaut.workflows.data import ConfigurationsData

    asked = ConfigurationsData.from_configurations(configurations[3:], tmp_path).store()
    node = run("argonaut.label_table", {"protocol": {}}, configurations=asked, table=dataset)
    assert node.is_finished_ok
    assert "labels" not in node.outputs
    assert node.outputs.losses["ok"] == 0


def test_a_member_starts_from_another_model(run, dataset):
    settings = {"members": 2, "seed": 3, "elements": ["H", "He"], "config": {"steps": 2, "records": 1},
                "architecture": "teanet", "preset": "campaign"}  # fmt: skip
    first = run("argonaut.train", settings, dataset=dataset)
    assert first.is_finished_ok, first.exit_message
    tuned = {**settings, "members": 1, "initial_member": 1}
    second = run("argonaut.train", tuned, dataset=dataset, initial=first.outputs.committee)
    assert second.is_finished_ok, second.exit_message
    card = second.outputs.committee._document("card.json")
    assert card["members"][0]["initial"]["member"] == 1
    assert second.outputs.committee._document("config.json")["elements"] == [1, 2, 3, 4]
    free = {key: value for key, value in tuned.items() if key not in ("architecture", "preset", "initial_member")}
    assert run("argonaut.train", free, dataset=dataset, initial=first.outputs.committee).is_finished_ok
    other = run("argonaut.train", {**tuned, "preset": "huge"}, dataset=dataset, initial=first.outputs.committee)
    assert other.exit_status == 300
    assert "preset 'huge': the initial model has 'campaign'" in other.exit_message
