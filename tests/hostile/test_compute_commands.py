"""Commands that compute, given what they cannot use: one line says what and why, and nothing is written."""

import json

import pytest

LABEL = "label-ase {} -o out --calculator ase.calculators.lj:LennardJones"
GOOD = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3{} pbc="T T T"{}'
PLAIN = GOOD.format("", "")


def case(words, command, *said, **files):
    """A command line, what its one line must hold, and files to write first (a function of the bytes spoils one)."""
    return pytest.param(
        command, said, {name.replace("__", "/").replace("_x", ".x"): c for name, c in files.items()}, id=words
    )


def frames(words, text, *said):
    """A file of structures that cannot be labelled."""
    return pytest.param(LABEL.format("bad.extxyz"), ("bad.extxyz", *said), {"bad.extxyz": text}, id=words)


def labels(words, text, *said):
    """A file of labelled frames that cannot be trained on."""
    return pytest.param("train bad.extxyz -o out", ("bad.extxyz", *said), {"bad.extxyz": text}, id=words)


def model(words, *said, **files):
    """A model folder with files that are damaged."""
    spoiled = {
        f"model/{name}.{'safetensors' if name == 'model' else 'json'}": content for name, content in files.items()
    }
    return pytest.param("evaluate model labelled/labels.extxyz -o out", ("model", *said), spoiled, id=words)


def changed(**values):
    """Damages a JSON document: these keys get these values, and are removed where that is None."""

    def change(content):
        document = {**json.loads(content), **values}
        return json.dumps({key: value for key, value in document.items() if value is not None}).encode()

    return change


def atoms(*lines, header=PLAIN):
    """An extended XYZ frame."""
    return "\n".join([str(len(lines)), header, *lines]) + "\n"


def labelled(forces="0 0 0", info=" energy=-1.0", symbol="He"):
    """A labelled frame of one atom; `forces` None leaves them out."""
    given = forces is not None
    return atoms(f"{symbol} 0 0 0 {forces if given else ''}", header=GOOD.format(":forces:R:3" if given else "", info))


COMMAND_LINES = [
    case("an unknown command", "lunch", "lunch", "--help"),
    case("a command nearly right", "explor model starts.extxyz -o out", "explor", "Did you mean 'explore'"),
    case("no command", "", "a command is missing"),
    case("an unknown option", "generate recipe.yaml -n 2 -o out.extxyz --sed 3", "--sed", "--seed"),
    case("an argument too many", "generate recipe.yaml recipe.yaml -n 2 -o out.extxyz", "unexpected", "recipe.yaml"),
    case("an argument missing", "train -o out", "DATA"),
    case("an option without its value", "train dataset -o", "-o", "argument"),
    case("a file that is missing", "generate no.yaml -n 2 -o out.extxyz", "no.yaml", "does not exist"),
    case("a folder for a file", "generate model -n 2 -o out.extxyz", "model", "is a directory"),
    case("a file for a folder", "explore recipe.yaml starts.extxyz -o out", "recipe.yaml", "is a file"),
    case("text for a number", "generate recipe.yaml -n two -o out.extxyz", "'two'", "integer"),
    case("nothing to make", "generate recipe.yaml -n 0 -o out.extxyz", "0", "x>=1"),
    case("a negative number", "generate recipe.yaml -n -3 -o out.extxyz", "-3", "x>=1"),
    case("a negative seed", "train dataset -o out --seed -1", "-1", "0<=x<="),
    case("a seed too large", f"train dataset -o out --seed {10**30}", str(10**30), "0<=x<="),
    case("a seed of NaN", "train dataset -o out --seed nan", "'nan'", "integer"),
    case("no members", "train dataset -o out --members 0", "0", "x>=1"),
    case("a budget of nothing", "train dataset -o out --budget 0s", "'0s'", "30m"),
    case("a budget in days", "train dataset -o out --budget 2d", "'2d'", "30m"),
    case("a negative budget", "train dataset -o out --budget -5m", "-5m", "30m"),
    case("a budget longer than time", f"train dataset -o out --budget {'9' * 400}h", "no duration"),
    case("a device there is not", "evaluate model dataset --device tpu", "tpu", "cpu"),
    case("an unknown architecture", "train dataset -o out --architecture teenet", "teenet", "teanet"),
    case("an unknown preset", "train dataset -o out --preset huge", "huge", "campaign"),
    case("an element beyond Ar to train for", "train dataset -o out --elements H,Fe", "Fe", "H"),
    case("the initial model overwritten", "train dataset -o model --initial model", "model", "elsewhere"),
    case("a precision there is not", "evaluate model dataset --dtype float16", "float16", "float32"),
    case("a calculator that is no class", "label-ase starts.extxyz -o out --calculator lj", "'lj'", "module:Class"),
    case("a calculator there is not", "label-ase starts.extxyz -o out --calculator ase.no:LJ", "ase.no:LJ", "imported"),
    case("a calculator that is no calculator", "label-ase starts.extxyz -o out --calculator os:getcwd", "os:getcwd"),
    case("a structure file for a recipe", "generate starts.extxyz -n 2 -o out.extxyz", "starts.extxyz", "key: value"),
    case("an element beyond Ar to build", "pseudos build -o out --elements H,Fe", "Fe"),
    case("an ld1.x there is not", "pseudos build -o out --elements H --ld1 /no/ld1.x", "/no/ld1.x"),
    case("the pw.x of another name", "pseudos check model --elements H --box -3", "-3"),
]
OUTPUTS = [
    case("output without its suffix", "deduplicate starts.extxyz -o out", "out", ".extxyz"),
    case("output into a folder of others", "generate recipe.yaml -n 2 -o model", "model", "holds card.json"),
    case(
        "output below a file", "generate recipe.yaml -n 2 -o recipe.yaml/out.extxyz", "recipe.yaml", "cannot be written"
    ),
    case("an output folder below a file", "train dataset -o recipe.yaml/out", "recipe.yaml", "cannot be written"),
    case("an output folder that is a file", "train dataset -o recipe.yaml", "recipe.yaml", "is a file"),
    case(
        "output where nothing can be written",
        "explore model starts.extxyz -o /proc/1/out",
        "/proc",
        "cannot be written",
    ),
    case(
        "selection where nothing can be written", "select starts.extxyz -n 1 -o /proc/out", "/proc", "cannot be written"
    ),
    case("a committee over its own member", "merge model stranger -o model", "model", "elsewhere"),
]
SETTINGS = [
    case(
        "settings with an unknown key", "train dataset -o out --config bad", "bad", "'step'", "'steps'", bad="step: 3"
    ),
    case("settings that are no mapping", "train dataset -o out --config bad", "bad", "list", bad="- steps\n- 3\n"),
    case(
        "settings with a key twice",
        "select explored/frames.extxyz -n 1 -o out --config bad",
        "twice",
        bad="low: 1\nlow: 2",
    ),
    case("settings with infinity", "explore model starts.extxyz -o out --config bad", "finite", bad="max_force: .inf"),
    case(
        "settings with steps below none", "explore model starts.extxyz -o out --config bad", "steps -3", bad="steps: -3"
    ),
    case(
        "parameters that LJ has not", LABEL.format("starts.extxyz") + " --parameters bad", "'sigmar'", bad="sigmar: 1"
    ),
    case(
        "parameters with code to run",
        LABEL.format("starts.extxyz") + " --parameters bad",
        "tag",
        bad="a: !!python/name:os.x",
    ),
    case(
        "reference energies that are text", "train dataset -o out --reference-energies bad", "bad", bad='{"H": "low"}'
    ),
    case("reference energies of NaN", "train dataset -o out --reference-energies bad", "bad", bad='{"H": NaN}'),
    case("reference energies as a list", "train dataset -o out --reference-energies bad", "bad", bad="[1, 2]"),
    case(
        "reference energies that are binary",
        "train dataset -o out --reference-energies bad",
        "bad",
        bad=b"\xff\xfe\x00",
    ),
    case(
        "reference energies of some elements", "train dataset -o out --reference-energies bad", "He", bad='{"H": -13.6}'
    ),
]
STRUCTURES = [
    frames("an empty file", "", "extended XYZ|no frames"),
    frames("binary rubbish", bytes(range(256)), "extended XYZ"),
    frames("a recipe for structures", "source: packing\n", "extended XYZ"),
    frames("fewer atoms than it says", "3\n" + GOOD.format("", "") + "\nHe 0 0 0\n", "extended XYZ"),
    frames("more atoms than it says", "1\n" + GOOD.format("", "") + "\nHe 0 0 0\nHe 1 1 1\n", "extended XYZ"),
    frames("no atoms", atoms(), "extended XYZ|expected"),
    frames("a negative count", "-1\n\nHe 0 0 0\n", "extended XYZ"),
    frames("text for a number", atoms("He 0 zero 0"), "extended XYZ"),
    frames("a position of NaN", atoms("He 0 nan 0"), "frame 0", "NaN"),
    frames("an infinite position in the second frame", atoms("He 0 0 0") + atoms("He 0 inf 0"), "frame 1", "infinite"),
    frames("a column missing", atoms("He 0 0"), "extended XYZ"),
    frames("an element there is not", atoms("Xx 0 0 0"), "extended XYZ|outside"),
    frames("an element beyond Ar", atoms("Fe 0 0 0"), "frame 0", "Fe", "H-Ar"),
    frames("periodic without a cell", atoms("He 0 0 0", header='Properties=species:S:1:pos:R:3 pbc="T T T"'), "volume"),
    frames("periodic in two directions", atoms("He 0 0 0", header=PLAIN.replace("T T T", "T T F")), "pbc"),
    frames(
        "a cell of text",
        atoms("He 0 0 0", header=PLAIN.replace("4 0 0 0 4", "a b c d e")),
        "extended XYZ|cell",
    ),
    frames("a flat cell", atoms("He 0 0 0", header=PLAIN.replace("0 0 4", "0 0 0")), "volume"),
    case("structures without a prediction", "select starts.extxyz -n 1 -o out", "starts.extxyz, frame 0", "prediction"),
    case(
        "an element the model has never seen",
        "explore model bad.extxyz -o out",
        "does not know O",
        "H, He, Li, Be",
        **{"bad.extxyz": atoms("O 0 0 0")},
    ),
    case("a table of structures", "label-table starts.extxyz starts.extxyz -o out", "starts.extxyz", "no energy"),
    case(
        "a table of two protocols",
        "label-table starts.extxyz bad.extxyz -o out",
        "2 protocols",
        **{
            "bad.extxyz": labelled(info=" energy=1 protocol_hash=pa")
            + labelled(info=" energy=1 protocol_hash=pb", symbol="H")
        },
    ),
]
LABELLED = [
    labels("no energy", labelled(info=""), "frame 0", "no energy"),
    labels("no forces", atoms("He 0 0 0", "He 2 2 2", header=GOOD.format("", " energy=-1.0")), "frame 0", "no forces"),
    labels("an energy of NaN", labelled(info=" energy=nan"), "frame 0", "NaN"),
    labels("an energy of text", labelled(info=" energy=low"), "frame 0", "low"),
    labels("an infinite force", labelled(forces="0 inf 0"), "frame 0", "infinite"),
    labels("a stress of five numbers", labelled(info=' energy=1 stress="1 2 3 4 5"'), "bad.extxyz"),
    labels("an element beyond Ar", labelled(symbol="Fe"), "Fe", "H"),
    labels(
        "two protocols",
        labelled(info=" energy=1 protocol_hash=pa") + labelled(info=" energy=1 protocol_hash=pb", symbol="H"),
        "2 protocols",
    ),
    case(
        "data cut off", "train dataset -o out", "frames.extxyz", **{"dataset/frames.extxyz": lambda c: c[: len(c) // 2]}
    ),
    case(
        "data changed by hand",
        "train dataset -o out",
        "dataset",
        "changed",
        **{"dataset/frames.extxyz": lambda c: c.replace(b"energy=-", b"energy=-1")},
    ),
    case(
        "data without its document", "train dataset -o out", "dataset", "dataset.json", **{"dataset/dataset.json": None}
    ),
    case(
        "data with a document of rubbish",
        "train dataset -o out",
        "dataset.json",
        **{"dataset/dataset.json": b"\xff\x00{"},
    ),
    case(
        "data with a document of another format",
        "train dataset -o out",
        "format",
        **{"dataset/dataset.json": changed(format="x")},
    ),
    case(
        "data with a protocol that is none",
        "train dataset -o out",
        "dataset",
        **{"dataset/dataset.json": changed(protocol=[1])},
    ),
    case("a folder that is no dataset", "train model -o out", "model", "not a dataset"),
]
MODELS = [
    model("weights missing", "model.safetensors", "missing", model=None),
    model("weights cut off", "cannot be used", model=lambda c: c[: len(c) // 2]),
    model("weights of rubbish", "cannot be used", model=b"rubbish" * 100),
    model("weights that are NaN", "finite", model=lambda c: c[:-64] + b"\xff" * 64),
    model("no description", "config.json", "missing", config=None),
    model("a description cut off", "cannot be used", config=lambda c: c[: len(c) // 2]),
    model("a description that is a list", "cannot be used", config=b"[]"),
    model("a description lacking a key", "baseline", "config.json", config=changed(baseline=None)),
    model("a description of another format", "format 99", config=changed(format=99)),
    model("a description of more members than there are", "member", config=changed(n_members=3)),
    model("a description of a billion members", "member", config=changed(n_members=10**12)),
    model("members as text", "n_members", config=changed(n_members="two")),
    model("an architecture there is not", "teenet", "teanet", config=changed(architecture="teenet")),
    model("hyperparameters that are text", "config", config=changed(config="big")),
    model("a card that is no JSON", "card", card=b"{"),
    case("a folder that is no model", "explore dataset starts.extxyz -o out", "dataset", "not a model folder"),
    case("members of two kinds", "merge model stranger -o out", "stranger does not fit model", "baseline"),
    case("a member without weights", "merge model -o out", "model.safetensors", **{"model/model.safetensors": None}),
    case("a member without a card", "merge model -o out", "card.json", **{"model/card.json": None}),
    case(
        "a member with rubbish for weights", "merge model -o out", "damaged", **{"model/model.safetensors": b"x" * 99}
    ),
    case("a member whose metrics are no objects", "merge model -o out", "metrics", **{"model/metrics.jsonl": "[1]\n"}),
    case(
        "a member without a count", "merge model -o out", "n_members", **{"model/config.json": changed(n_members=None)}
    ),
]
AS_A_USER = [
    COMMAND_LINES[0],
    COMMAND_LINES[2],
    COMMAND_LINES[7],
    COMMAND_LINES[17],
    OUTPUTS[5],
    SETTINGS[0],
    STRUCTURES[8],
    LABELLED[0],
    MODELS[1],
    MODELS[16],
]


@pytest.mark.parametrize(
    ("command", "said", "files"), COMMAND_LINES + OUTPUTS + SETTINGS + STRUCTURES + LABELLED + MODELS
)
def test_what_cannot_be_used_is_refused(command, said, files, refused):
    refused(command, said, files)


@pytest.mark.parametrize(("command", "said", "files"), AS_A_USER)
def test_as_a_user_types_it(command, said, files, refused):
    refused(command, said, files, user=True)


def test_a_dangling_link_is_no_file(folder, refused):
    (folder / "link.yaml").symlink_to("nowhere")
    refused("generate link.yaml -n 2 -o out.extxyz", ("link.yaml", "does not exist"))
    (folder / "out").symlink_to("nowhere")
    refused("train dataset -o out", ("out", "cannot be written"))
