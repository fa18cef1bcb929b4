"""Model folders that are truncated, malicious or foreign: one clear line each, nothing unpickled, nothing allocated."""

import dataclasses
import json
import pickle
import resource
import struct
import subprocess
import sys

import pytest
import torch

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.committee import Committee, CommitteeError, NetworkKind
from aiida_argonaut.mlip.model_files import ModelFilesError, merge_model_folders
from aiida_argonaut.mlip.model_folder import model_config, networks_of, read_model_folder
from aiida_argonaut.mlip.potential import get_architecture


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    architecture = get_architecture("teanet")
    config = dataclasses.replace(architecture.preset("campaign"), scalar_width=12, bond_width=4, vector_width=4)
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(2))
    baseline = Baseline(((1, -13.0), (8, -430.0)))
    Committee(architecture, "campaign", config, baseline, members, {"seed": 1}, ({"step": 1},)).save(folder)
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Members 0 and 2 are TeaNets, member 1 is a LEIGNN of another cutoff."""
    folder = tmp_path_factory.mktemp("mixed")
    networks = []
    for name, sizes in (
        ("teanet", {"scalar_width": 12, "bond_width": 4, "vector_width": 4}),
        ("leignn", {"n_layers": 2, "scalar_width": 10, "vector_width": 4, "cutoff": 4.0}),
    ):
        architecture = get_architecture(name)
        networks.append(
            NetworkKind(architecture, "campaign", dataclasses.replace(architecture.preset("campaign"), **sizes))
        )
    of_each = (networks[0], networks[1], networks[0])
    members = tuple(n.architecture.init(n.config, torch.Generator().manual_seed(k)) for k, n in enumerate(of_each))
    baseline = Baseline(((1, -13.0), (8, -430.0)))
    Committee(*networks[0], baseline, members, {"seed": 1}, ({"step": 1},), of_each).save(folder)
    return folder


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle was opened')",)


def file(name, content):
    """Other content of one file: bytes, or a function of the bytes that are there."""
    return lambda folder: (folder / name).write_bytes(
        content((folder / name).read_bytes()) if callable(content) else content
    )


def config(**values):
    """Other values of config.json; a dict is merged into the one that is there."""

    def change(content):
        document = json.loads(content)
        for key, value in values.items():
            document[key] = {**document[key], **value} if isinstance(value, dict) else value
        return json.dumps(document).encode()

    return file("config.json", change)


def header(change, text=None):
    """The header of model.safetensors after `change` of its document, or another text; the weights stay."""

    def changed(content):
        length = struct.unpack("<Q", content[:8])[0]
        document = json.loads(content[8 : 8 + length])
        if text is None:
            change(document)
        told = json.dumps(document).encode() if text is None else text
        return struct.pack("<Q", len(told)) + told + content[8 + length :]

    return file("model.safetensors", changed)


def renamed(name):
    """The first tensor under another name."""

    def change(document):
        first = next(key for key in document if key.startswith("member.0/"))
        document[name] = document.pop(first)

    return header(change)


def entry(**values):
    """Other values in the entry of the first tensor."""
    return header(lambda d: next(v for k, v in d.items() if k != "__metadata__").update(values))


WEIGHTS, CONFIG = "model.safetensors", "config.json"
DAMAGES = {
    "weights cut in the header": (file(WEIGHTS, lambda c: c[:100]), "header in a file of 100 bytes"),
    "weights cut in the data": (file(WEIGHTS, lambda c: c[:-40]), "bytes of weights, there are"),
    "weights with bytes too many": (file(WEIGHTS, lambda c: c + b"x" * 40), "bytes of weights, there are"),
    "weights empty": (file(WEIGHTS, b""), "0 bytes of header in a file of 0 bytes"),
    "weights of rubbish": (file(WEIGHTS, b"rubbish" * 100), "damaged or foreign"),
    "a header of 2^63 bytes": (file(WEIGHTS, struct.pack("<Q", 2**63) + b"{}"), "9223372036854775808 bytes of header"),
    "a header that is no JSON": (header(None, b"{]"), "header is not valid JSON"),
    "a header that is a list": (header(None, b"[]"), "header holds a list"),
    "a header nested deeply": (header(None, b"[" * 200_000), "nested too deeply"),
    "a pickle": (lambda f: (f / WEIGHTS).write_bytes(pickle.dumps(Bomb())), "pickle"),
    "a pickle of torch": (lambda f: torch.save({"a": Bomb()}, f / WEIGHTS), "pickle"),
    "a tensor of 10^18 numbers": (entry(shape=[10**9, 10**9]), "has the shape|of shape"),
    "a tensor of negative shape": (entry(shape=[-1, -8]), "has the shape"),
    "a tensor of whole numbers": (entry(dtype="I32"), "type 'I32', expected F32 or F64"),
    "a tensor without a place": (entry(data_offsets=None), "no type, shape and place"),
    "a tensor beyond the file": (entry(data_offsets=[2**40, 2**40 + 192]), "damaged|cannot be used"),
    "a name that leaves the folder": (renamed("member.0/../../etc/passwd"), "expected 'member.<k>/<parameter>'"),
    "a name from the root": (renamed("/etc/passwd"), "expected 'member.<k>/<parameter>'"),
    "a member of a huge number": (renamed(f"member.{10**30}/x"), "expected 'member.<k>/<parameter>'"),
    "weights that are NaN": (file(WEIGHTS, lambda c: c[:-64] + b"\xff" * 64), "NaN or infinite"),
    "description nested deeply": (file(CONFIG, b'{"a":' * 100_000), "nested too deeply"),
    "description of 20 MB": (file(CONFIG, b'{"a": "' + b"x" * 20_000_000 + b'"}'), "bytes, expected 16777216 at most"),
    "description with NaN": (file(CONFIG, lambda c: c.replace(b"1.0", b"NaN")), "NaN is no number"),
    "description that is no text": (file(CONFIG, b"\xff\xfe\x00"), "not valid JSON"),
    "description of a number of 5000 digits": (file(CONFIG, b'{"format": ' + b"9" * 5000 + b"}"), "not valid JSON"),
    "a newer format": (config(format=3), "format 3, this version reads 1 and 2; a newer aiida-argonaut"),
    "a foreign format": (config(format="mace"), "format 'mace', this version reads 1 and 2"),
    "the format of a mixed committee": (config(format=2), "lacks the key 'networks'"),
    "a format that is true": (config(format=True), "format True, this version reads 1 and 2"),
    "an unknown key": (config(pickle="model.pt"), "unknown key 'pickle'"),
    "a width of 10^9": (config(config={"scalar_width": 10**9}), "scalar_width is 1000000000, expected 4096 at most"),
    "a depth of 10^9": (config(config={"n_blocks": 10**9}), "n_blocks is 1000000000, expected 4096 at most"),
    "a width of 10^400": (config(config={"bond_width": 10**400}), "more than 15 digits"),
    "a cutoff of 10^9 Å": (config(config={"cutoff": 1e9}), "cutoff is 1000000000.0, expected Å above 0, 20 at most"),
    "a cutoff of nothing": (config(cutoff=0), "cutoff is 0"),
    "10^12 members": (config(n_members=10**12), "member"),
    "no members": (config(n_members=0), "n_members is 0"),
    "elements as text": (config(elements="H, O"), "elements is a str, expected a list"),
    "a negative scale": (config(baseline={"scale": -1.0}), "scale is -1.0"),
    "a card nested deeply": (file("card.json", b"[" * 100_000), "nested too deeply"),
    "a card of infinity": (file("card.json", b'{"seconds": Infinity}'), "Infinity is no number"),
    "metrics cut off": (file("metrics.jsonl", b'{"step": 1}\n{"st'), "metrics.jsonl, line 2: not valid|line 2 is not"),
}


def network(**values):
    """Other values of the second network of a mixed committee; a dict is merged into the one that is there."""

    def change(content):
        document = json.loads(content)
        for key, value in values.items():
            own = document["networks"][1]
            own[key] = {**own[key], **value} if isinstance(value, dict) else value
        return json.dumps(document).encode()

    return file("config.json", change)


MIXED = {
    "the format of one network": (config(format=1), "lacks the key 'architecture'"),
    "an architecture for all": (config(architecture="teanet"), "unknown key 'architecture'"),
    "networks as text": (config(networks="all"), "networks is a str, expected a list"),
    "no networks": (config(networks=[]), "n_members is 3, the networks list 0 members"),
    "a network as a number": (config(networks=[1]), r"networks\[0\] is a int, expected a JSON object"),
    "a network without a cutoff": (
        file(CONFIG, lambda c: c.replace(b'"cutoff": 4.0,\n      "members"', b'"members"')),
        r"networks\[1\] lacks the key 'cutoff'",
    ),
    "an unknown key of a network": (network(pickle="x.pt"), r"networks\[1\] has the unknown key 'pickle'"),
    "hyperparameters as text": (network(config="big"), r"networks\[1\]: config is a str, expected a dict"),
    "a width of 10^9": (network(config={"scalar_width": 10**9}), r"networks\[1\]: config: scalar_width is 1000000000"),
    "a cutoff of 10^9 Å": (network(cutoff=1e9), "cutoff is 1000000000.0, expected Å above 0, 20 at most"),
    "a member of two networks": (network(members=[0]), "list 3 members; expected each from 0 on once"),
    "a member of none": (network(members=[1, 2]), "list 4 members"),
    "a member that is not there": (network(members=[7]), "expected each from 0 on once"),
    "a negative member": (network(members=[-1]), "expected each from 0 on once"),
    "a member that is true": (network(members=[True]), "members is .True., expected a list of whole numbers"),
    "members as text": (network(members="1"), "members is 1, expected a list of whole numbers"),
    "a network of nobody": (network(members=[]), "expected a list of whole numbers"),
    "10^12 members": (config(n_members=10**12), "n_members is 1000000000000, the networks list 3 members"),
    "direct forces beside others": (network(config={"direct_forces": True}), "no stress, beside others"),
    "weights cut in the data": (file(WEIGHTS, lambda c: c[:-40]), "bytes of weights, there are"),
    "NaN for weights": (file(WEIGHTS, lambda c: c[:-64] + b"\xff" * 64), "NaN or infinite"),
}
MIXED_LOADING_ONLY = {
    "an architecture there is not": (network(architecture="leignet"), "did you mean 'leignn'"),
    "an architecture of other weights": (network(architecture="a2i"), "config.json"),
    "a width of other weights": (network(config={"scalar_width": 4096}), "member 1 do not fit the hyperparameters"),
    "an unknown hyperparameter": (network(config={"cutof": 5.0}), "did you mean 'cutoff'"),
    "members exchanged": (
        file(CONFIG, lambda c: json.dumps(_exchanged(json.loads(c))).encode()),
        "do not fit the hyperparameters",
    ),
}


def _exchanged(document):
    one, two = document["networks"]
    one["members"], two["members"] = [1], [0, 2]
    return document


LOADING_ONLY = {
    "a width of other weights": (config(config={"scalar_width": 4096}), "do not fit the hyperparameters"),
    "a depth of other weights": (config(config={"n_blocks": 64}), "do not fit the hyperparameters"),
    "an unknown hyperparameter": (config(config={"cutof": 5.0}), "did you mean 'cutoff'"),
}


def copied(source, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    for path in source.iterdir():
        (bad / path.name).write_bytes(path.read_bytes())
    return bad


@pytest.fixture
def folder(good, tmp_path):
    return copied(good, tmp_path)


@pytest.mark.parametrize("case", {**DAMAGES, **LOADING_ONLY})
def test_they_do_not_load(case, folder):
    damage, said = {**DAMAGES, **LOADING_ONLY}[case]
    damage(folder)
    refused(folder, said)


def refused(folder, said):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CommitteeError, match=said) as caught:
        Committee.load(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600 + len(str(folder))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kB more than before"


def test_asking_for_shapes_draws_no_weights():
    """What a file claims of its sizes is compared on the meta device, before any memory is taken."""
    code = """
import sys, torch
from aiida_argonaut.mlip.potential import architecture_names, get_architecture
for name in architecture_names():
    for config in get_architecture(name).presets.values():
        with torch.device("meta"):
            weights = get_architecture(name).init(config, torch.Generator())
        assert all(weight.is_meta for weight in weights.values()), name
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("case", DAMAGES)
def test_they_do_not_merge(case, good, folder, tmp_path):
    damage, said = DAMAGES[case]
    damage(folder)
    with pytest.raises(ModelFilesError, match=rf"(?s)bad.*({said})") as caught:
        merge_model_folders([good, folder], tmp_path / "both")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("case", {**MIXED, **MIXED_LOADING_ONLY})
def test_mixed_ones_do_not_load(case, mixed, tmp_path):
    damage, said = {**MIXED, **MIXED_LOADING_ONLY}[case]
    bad = copied(mixed, tmp_path)
    damage(bad)
    refused(bad, said)


@pytest.mark.parametrize("case", MIXED)
def test_mixed_ones_do_not_merge(case, mixed, tmp_path):
    damage, said = MIXED[case]
    bad = copied(mixed, tmp_path)
    damage(bad)
    with pytest.raises(ModelFilesError, match=rf"(?s)bad.*({said})") as caught:
        merge_model_folders([mixed, bad], tmp_path / "both")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "both").exists()


def test_a_good_mixed_one_is_read(mixed):
    networks = networks_of(read_model_folder(mixed).config)
    assert [(n["architecture"], n["cutoff"], n["members"]) for n in networks] == [
        ("teanet", 5.0, [0, 2]),
        ("leignn", 4.0, [1]),
    ]
    assert [n.architecture.name for n in Committee.load(mixed).networks] == ["teanet", "leignn", "teanet"]


def test_one_network_is_written_as_ever(good):
    """Byte by byte what earlier versions wrote and read."""
    committee = Committee.load(good)
    expected = {
        "format": 1,
        "architecture": "teanet",
        "preset": "campaign",
        "config": dataclasses.asdict(committee.config),
        "cutoff": 5.0,
        "elements": [1, 8],
        "n_members": 2,
        "baseline": committee.baseline.to_document(),
    }
    assert (good / "config.json").read_text() == json.dumps(expected, indent=2) + "\n"


def test_many_networks_take_no_square_of_time():
    """A hostile config.json may hold as many as fit into 16 MB."""
    each = [{"architecture": "x", "preset": "y", "config": {"width": k}, "cutoff": 5.0} for k in range(30_000)]
    assert len(model_config(each, [1], {})["networks"]) == 30_000


def test_a_good_one_is_read(good):
    documents = read_model_folder(good)
    assert documents.config["n_members"] == 2
    assert (documents.card, documents.metrics) == ({"seed": 1}, ({"step": 1},))
    assert Committee.load(good).n_members == 2


def test_members_are_counted_on(good, tmp_path):
    merge_model_folders([good, good], tmp_path / "four")
    assert Committee.load(tmp_path / "four").n_members == 4
    assert [line["member"] for line in read_model_folder(tmp_path / "four").metrics] == [0, 2]
