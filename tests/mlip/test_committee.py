"""What disagreement means, and that a committee survives its files."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.committee import Committee, CommitteeError, NetworkKind, force_deviation
from aiida_argonaut.mlip.frames import Configuration, FrameError, LabelledFrame
from aiida_argonaut.mlip.graph import DeviceError
from aiida_argonaut.mlip.initial import Initial, network_energies
from aiida_argonaut.mlip.model_files import ModelFilesError, merge_model_folders
from aiida_argonaut.mlip.potential import ArchitectureError, evaluate, get_architecture

BASELINE = Baseline(((1, -13.0), (6, -150.0), (8, -430.0)), scale=1.5)


def committee(n=2, seed=0, same=False):
    architecture = get_architecture("teanet")
    config = dataclasses.replace(architecture.preset("campaign"), scalar_width=12, bond_width=4, vector_width=4)
    members = tuple(
        architecture.init(config, torch.Generator().manual_seed(seed if same else seed + k)) for k in range(n)
    )
    return Committee(architecture, "campaign", config, BASELINE, members, {"seed": seed})


SIZES = {
    "teanet": {"scalar_width": 12, "bond_width": 4, "vector_width": 4},
    "leignn": {"n_layers": 2, "scalar_width": 10, "vector_width": 4, "cutoff": 4.0},
}


def single(name, seed=0):
    """A committee of one small network."""
    architecture = get_architecture(name)
    config = dataclasses.replace(architecture.preset("campaign"), **SIZES[name])
    member = architecture.init(config, torch.Generator().manual_seed(seed))
    card = {"torch": "2", "architecture": name, "members": [{"seed": seed}]}
    return Committee(architecture, "campaign", config, BASELINE, (member,), card, ({"member": 0, "step": seed},))


def mixed(*names):
    """Members of these architectures, seeds 0, 1 ..."""
    singles = [single(name, seed) for seed, name in enumerate(names)]
    networks, members = (tuple(getattr(one, key)[0] for one in singles) for key in ("networks", "members"))
    return Committee(*networks[0], BASELINE, members, networks=networks)


def direct():
    """A committee of one small network with forces of its own."""
    architecture = get_architecture("leignn")
    sizes = {"n_layers": 1, "scalar_width": 8, "vector_width": 8, "n_basis": 4, "cutoff": 4.0}
    config = dataclasses.replace(architecture.preset("published"), **sizes)
    member = architecture.init(config, torch.Generator().manual_seed(0))
    return Committee(architecture, "published", config, BASELINE, (member,))


def configurations(n=5):
    random = np.random.default_rng(0)
    found = [Configuration(random.choice([1, 6, 8], k), random.random((k, 3)) * 4, np.eye(3) * 4) for k in range(1, n)]
    return [*found, Configuration([8, 1], np.array([[0.0, 0, 0], [0, 0, 1.0]]), np.zeros((3, 3)), (False,) * 3)]


def test_opposite_forces_deviate_although_equally_long():
    forces = np.array([[[0.0, 0.0, 2.0]], [[0.0, 0.0, -2.0]]])
    assert force_deviation(forces) == pytest.approx([2.0])
    assert force_deviation(torch.tensor(forces)).tolist() == pytest.approx([2.0])


def test_force_deviation_against_the_formula():
    forces = np.random.default_rng(0).normal(size=(4, 7, 3))
    expected = [np.sqrt(np.mean([np.linalg.norm(f[i] - forces[:, i].mean(0)) ** 2 for f in forces])) for i in range(7)]
    assert force_deviation(forces) == pytest.approx(expected)


def test_identical_members_agree():
    predictions = committee(3, same=True).predict(configurations())
    assert max(p.force_deviation.max() for p in predictions) < 1e-6
    assert max(p.energy_deviation for p in predictions) == 0
    assert committee(3).predict(configurations())[-1].force_deviation.max() > 1e-3


def test_one_bad_atom_in_a_hundred_is_found():
    random = np.random.default_rng(1)
    forces = np.repeat(random.normal(size=(1, 100, 3)), 4, axis=0) + 0.01 * random.normal(size=(4, 100, 3))
    forces[2, 37] += [0.5, -0.5, 0.5]
    assert force_deviation(forces).argmax() == 37


def test_members_are_evaluated_like_single_potentials():
    group = committee(2)
    graph = group.build_graph(configurations())
    output = group.evaluate(graph, stress=True)
    for k, member in enumerate(group.members):
        single = evaluate(group.architecture, group.config, member, BASELINE, graph)
        torch.testing.assert_close(output.energy[k], single.energy)
        torch.testing.assert_close(output.forces[k], single.forces)
        torch.testing.assert_close(output.stress[k], single.stress)
    assert output.energy.dtype == torch.float64


def test_chunks_do_not_change_predictions():
    group = committee(2).to(dtype=torch.float64)
    for one, two in zip(group.predict(configurations()), group.predict(configurations(), max_edges=1), strict=True):
        assert one.energy == pytest.approx(two.energy, abs=1e-10)
        assert one.force_deviation == pytest.approx(two.force_deviation, abs=1e-10)
        assert one.forces.shape == two.forces.shape
    assert group.predict(configurations())[-1].stress is None


def test_merged_folders_are_the_committee(tmp_path):
    committee(1, seed=3).save(tmp_path / "one")
    committee(1, seed=4).save(tmp_path / "two")
    merge_model_folders([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    both = Committee.load(tmp_path / "both")
    graph = both.build_graph(configurations())
    assert both.n_members == 2
    assert torch.equal(both.evaluate(graph).forces, committee(2, seed=3).evaluate(graph).forces)
    changed = dataclasses.replace(committee(1), baseline=dataclasses.replace(BASELINE, scale=2.0))
    changed.save(tmp_path / "three")
    with pytest.raises(ModelFilesError, match="baseline"):
        merge_model_folders([tmp_path / "one", tmp_path / "three"], tmp_path / "none")


NAMES = ("teanet", "leignn", "teanet", "leignn")


def test_a_mixed_committee_is_the_mean_of_its_members():
    """Members of the shorter cutoff are given longer bonds than alone, and say the same."""
    group = mixed(*NAMES).to(dtype=torch.float64)
    alone = [single(name, seed).to(dtype=torch.float64) for seed, name in enumerate(NAMES)]
    assert (group.mixed, group.cutoff, [one.cutoff for one in alone]) == (True, 5.0, [5.0, 4.0, 5.0, 4.0])
    for index, prediction in enumerate(group.predict(configurations())):
        each = [one.predict(configurations())[index] for one in alone]
        assert prediction.energy == pytest.approx(np.mean([one.energy for one in each]), abs=1e-9)
        assert prediction.energy_deviation == pytest.approx(np.std([one.energy for one in each]), abs=1e-9)
        forces = np.array([one.forces for one in each])
        assert prediction.forces == pytest.approx(forces.mean(0), abs=1e-9)
        assert prediction.force_deviation == pytest.approx(force_deviation(forces), abs=1e-9)
        if prediction.stress is not None:
            assert prediction.stress == pytest.approx(np.mean([one.stress for one in each], axis=0), abs=1e-9)
    assert prediction.force_deviation.max() > 1e-3


def test_a_mixed_committee_survives_its_files(tmp_path):
    group = mixed(*NAMES)
    group.save(tmp_path / "one")
    again = Committee.load(tmp_path / "one")
    again.save(tmp_path / "two")
    for name in ("config.json", "model.safetensors", "card.json", "metrics.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert again.networks == group.networks
    graph = group.build_graph(configurations())
    for one, two in zip(group.evaluate(graph, stress=True), again.evaluate(graph, stress=True), strict=True):
        assert torch.equal(one, two)


def test_models_of_several_architectures_merge(tmp_path):
    folders = []
    for seed, name in enumerate(NAMES):
        folders.append(tmp_path / f"m{seed}")
        single(name, seed).save(folders[-1])
    merge_model_folders(folders[:3], tmp_path / "three")
    merge_model_folders([tmp_path / "three", folders[3]], tmp_path / "four")
    merge_model_folders(folders, tmp_path / "all")
    assert (tmp_path / "four" / "config.json").read_bytes() == (tmp_path / "all" / "config.json").read_bytes()
    both, expected = Committee.load(tmp_path / "four"), mixed(*NAMES)
    assert both.networks == expected.networks
    graph = both.build_graph(configurations())
    assert torch.equal(both.evaluate(graph).forces, expected.evaluate(graph).forces)
    assert [line["member"] for line in both.metrics] == [0, 1, 2, 3]
    assert both.card == {
        "torch": "2",
        "members": [{"seed": seed, "architecture": name} for seed, name in enumerate(NAMES)],
    }
    both.save(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_bytes() == (tmp_path / "four" / "config.json").read_bytes()
    merge_model_folders([folders[0], folders[2]], tmp_path / "pure")
    assert json.loads((tmp_path / "pure" / "config.json").read_text())["format"] == 1
    assert not Committee.load(tmp_path / "pure").mixed


def test_other_hyperparameters_are_another_network(tmp_path):
    one = single("teanet")
    config = dataclasses.replace(one.config, average_neighbours=12.5)
    other = dataclasses.replace(one, config=config)
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    merge_model_folders([tmp_path / "one", tmp_path / "other"], tmp_path / "both")
    assert [n.config for n in Committee.load(tmp_path / "both").networks] == [one.config, config]


def test_direct_forces_do_not_mix_with_others(tmp_path):
    one, other = direct(), single("leignn")
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    for pair in (("one", "other"), ("other", "one")):
        with pytest.raises(ModelFilesError, match=r"one has direct_forces and no stress, .*other has forces") as caught:
            merge_model_folders([tmp_path / name for name in pair], tmp_path / "both")
        assert "\n" not in str(caught.value)
    networks = (*one.networks, *other.networks)
    with pytest.raises(CommitteeError, match=r"members leignn/published, leignn/campaign: some have direct forces"):
        Committee(*networks[0], BASELINE, (*one.members, *other.members), networks=networks)
    assert not (tmp_path / "both").exists()
    merge_model_folders([tmp_path / "one", tmp_path / "one"], tmp_path / "both")
    assert Committee.load(tmp_path / "both").evaluate(one.build_graph(configurations()), stress=True).stress is None


def test_networks_belong_to_members():
    group = mixed("teanet", "leignn")
    with pytest.raises(CommitteeError, match="2 networks for 4 members; expected one for each"):
        dataclasses.replace(group, members=group.members * 2)
    alone = single("teanet")
    more = dataclasses.replace(alone, members=alone.members * 3)
    assert more.networks == (NetworkKind(alone.architecture, "campaign", alone.config),) * 3


def test_a_fine_tune_takes_the_architecture_of_its_member(tmp_path):
    group = mixed("teanet", "leignn", "teanet")
    group.save(tmp_path)
    frames = [
        LabelledFrame(c, -100.0 * len(c), np.zeros((len(c), 3)), None, "p") for c in configurations() if len(c) > 1
    ]
    for first, starts in ((0, [0, 2, 0]), (1, [1, 1]), (2, [2, 0, 2])):
        start = Initial.load(tmp_path, first)
        assert NetworkKind(*start.committee.networks[0]) == group.networks[first]
        assert (start.committee.architecture, start.committee.config) == group.networks[first][::2]
        for index, member in enumerate(starts):
            assert start.document(index)["member"] == member
            weights = start.weights(index)
            assert weights.keys() == group.members[member].keys()
            assert all(torch.equal(weight, group.members[member][name]) for name, weight in weights.items())
        assert network_energies(start.committee, frames).tolist() == network_energies(group, frames).tolist()


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(FrameError, match="does not know Si; it was trained on H, C, O"):
        committee().predict([Configuration([14], np.zeros((1, 3)), np.eye(3) * 3)])
    with pytest.raises(CommitteeError, match="not a model folder"):
        Committee.load(tmp_path)
    with pytest.raises(ArchitectureError, match="did you mean 'teanet'"):
        get_architecture("teanett")
    with pytest.raises(ArchitectureError, match="no preset 'big'"):
        get_architecture("teanet").preset("big")


def edited(change):
    """A damage: config.json after `change` of its document."""

    def damage(folder):
        document = json.loads((folder / "config.json").read_text())
        change(document)
        (folder / "config.json").write_text(json.dumps(document))

    return damage


def written(name, content):
    """A damage: other content of one file."""
    return lambda folder: (folder / name).write_bytes(content)


DAMAGES = {
    "weights are no tensors": (written("model.safetensors", b"not tensors at all"), "model"),
    "weights are cut short": (
        lambda f: written("model.safetensors", (f / "model.safetensors").read_bytes()[:5000])(f),
        "",
    ),
    "config is no JSON": (written("config.json", b"{"), "Expecting"),
    "metrics are no JSON": (written("metrics.jsonl", b"{\n"), ""),
    "no number of members": (edited(lambda d: d.pop("n_members")), "n_members"),
}
LOAD_DAMAGES = {
    **DAMAGES,
    "config is a list": (written("config.json", b"[]"), ""),
    "card is no JSON": (written("card.json", b"x"), ""),
    "foreign hyperparameter": (edited(lambda d: d["config"].update(cutof=3.0)), "did you mean 'cutoff'"),
    "missing hyperparameter": (edited(lambda d: d["config"].pop("n_blocks")), "lacks the key 'n_blocks'"),
    "hyperparameter of another type": (edited(lambda d: d["config"].update(cutoff="five")), "cutoff"),
    "hyperparameters of other weights": (edited(lambda d: d["config"].update(n_basis=9)), "do not fit"),
    "missing key": (edited(lambda d: d.pop("baseline")), "lacks the key 'baseline'"),
    "unknown architecture": (edited(lambda d: d.update(architecture="teanett")), "did you mean 'teanet'"),
    "too few members": (edited(lambda d: d.update(n_members=1)), "member.1/"),
    "too many members": (edited(lambda d: d.update(n_members=3)), "member 2 do not fit"),
    "no members": (edited(lambda d: d.update(n_members=0)), "n_members is 0"),
    "members are text": (edited(lambda d: d.update(n_members="2")), ""),
    "reference energy is text": (edited(lambda d: d["baseline"]["reference_energies"].update(H="x")), "H: 'x'"),
    "another format": (edited(lambda d: d.update(format=9)), "format 9"),
}


@pytest.mark.parametrize("case", LOAD_DAMAGES)
def test_damaged_folders_do_not_load(case, tmp_path):
    damage, words = LOAD_DAMAGES[case]
    committee().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(CommitteeError) as caught:
        Committee.load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_folders_do_not_merge(case, tmp_path):
    committee().save(tmp_path / "good")
    committee().save(tmp_path / "bad")
    DAMAGES[case][0](tmp_path / "bad")
    with pytest.raises(ModelFilesError, match="bad") as caught:
        merge_model_folders([tmp_path / "good", tmp_path / "bad"], tmp_path / "both")
    assert "\n" not in str(caught.value)


def test_dtype_and_device_are_checked(tmp_path):
    committee().save(tmp_path)
    with pytest.raises(CommitteeError, match="dtype 'float31': expected float32 or float64"):
        Committee.load(tmp_path, dtype="float31")
    with pytest.raises(DeviceError, match="device 'gpu': expected auto, cpu"):
        Committee.load(tmp_path, device="gpu")
    assert Committee.load(tmp_path, dtype="float64").dtype == torch.float64
