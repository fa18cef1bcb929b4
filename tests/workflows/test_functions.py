"""Calcfunctions on real nodes: what goes in comes out, once, and nothing else."""

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("profile")


@pytest.fixture
def given(configurations, tmp_path):
    """given(indices): a stored ConfigurationsData of some of the four configurations."""
    from aiida_argonaut.workflows.data import ConfigurationsData

    def made(*indices):
        return ConfigurationsData.from_configurations([configurations[k] for k in indices], tmp_path).store()

    return made


@pytest.fixture
def labelled(configurations):
    """labelled(indices): a stored DatasetData with made-up labels."""
    from aiida_argonaut.mlip.dataset import Dataset
    from aiida_argonaut.mlip.frames import LabelledFrame
    from aiida_argonaut.workflows.data import dataset_node

    def made(*indices):
        frames = [LabelledFrame(configurations[k], float(k), np.zeros((2, 3)), None, "p1") for k in indices]
        return dataset_node(Dataset(tuple(frames), {"code": "none"})).store()

    return made


def ids(node):
    return [configuration.configuration_id for configuration in node.configurations()]


def losses(configurations, **reasons):
    """An account in which configuration `k<index>` is lost for a reason."""
    from aiida import orm

    lost = [
        {"configuration_id": configurations[int(k[1:])].configuration_id, "reason": reason}
        for k, reason in reasons.items()
    ]
    return orm.Dict({"submitted": 4, "ok": 4 - len(lost), "lost": lost}).store()


def test_only_what_the_machine_lost_is_asked_for_again(configurations, given, labelled):
    from aiida_argonaut.workflows.functions import to_relabel

    again = to_relabel(
        labelled(3),
        candidates_000=given(0, 1, 2, 3),
        losses_000=losses(configurations, k0="infrastructure", k1="scf_not_converged", k3="infrastructure"),
        candidates_001=given(0, 2),
        losses_001=losses(configurations, k0="output_missing", k2="output_incomplete"),
    )
    assert ids(again) == [configurations[0].configuration_id, configurations[2].configuration_id]


def test_what_is_labelled_besides_comes_last_and_nothing_twice(configurations, given):
    from aiida_argonaut.workflows.functions import join_configurations

    joined = join_configurations(given(2, 0), given(0, 1))
    assert ids(joined) == [configurations[k].configuration_id for k in (2, 0, 1)]


def test_a_pool_is_drawn_from_until_it_is_empty(configurations, given, labelled):
    from aiida import orm

    from aiida_argonaut.workflows.functions import draw_from_pool

    pool, settings = given(0, 1, 2, 3), orm.Dict({"count": 3, "seed": 5}).store()
    first = draw_from_pool(pool, settings)
    assert len(set(ids(first))) == 3
    rest = draw_from_pool(pool, settings, dataset=labelled(0, 2, 3))
    assert ids(rest) == [configurations[1].configuration_id]
    _, node = draw_from_pool.run_get_node(pool, settings, dataset=labelled(0, 1, 2, 3))
    assert node.exit_status == 1
    assert "the pool has nothing left" in node.exit_message


def test_a_shelved_shard_is_not_lost_to_chemistry(configurations, given):
    from aiida_argonaut.workflows.functions import shelve_shard

    account = shelve_shard(given(1, 2))
    assert (account["submitted"], account["ok"]) == (2, 0)
    assert [loss["reason"] for loss in account["lost"]] == ["not_submitted"] * 2
    assert account["sources"] == {"packing": [2, 0, 0, 2]}
