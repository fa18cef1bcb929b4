"""Files and folders of configurations that cannot be used, and places that cannot be written, in all commands that
make, count and compare configurations: one line, nothing written, and no endless loop."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

CELL = 'Lattice="{}" Properties=species:S:1:pos:R:3 pbc="{}"'
CUBE = "4 0 0 0 4 0 0 0 4"
COVERAGE, DEDUPLICATE = "coverage bad.extxyz", "deduplicate bad.extxyz -o out.extxyz"
GENERATE = "generate own.yaml -o out.extxyz"
OWN = "source: user\nfiles: [bad.extxyz]\n"


def frame(*lines, cell=CUBE, pbc="T T T", count=None):
    """An extended XYZ frame."""
    return "\n".join([str(len(lines) if count is None else count), CELL.format(cell, pbc), *lines]) + "\n"


GOOD = frame("He 0 0 0")
FILES = {
    "empty": "",
    "blank lines": "\n\n\n",
    "binary": bytes(range(256)) * 9,
    "UTF-16": GOOD.encode("utf-16"),
    "cut off": GOOD + frame("He 0 0 0", "He 2 2 2")[:-12],
    "fewer atoms than told": GOOD + frame("He 0 0 0", count=3),
    "a million million atoms told": frame("He 0 0 0", count=10**12),
    "a count of 5000 digits": frame("He 0 0 0", count="9" * 5000),
    "a count below 64 bits": frame("He 0 0 0", count=-(10**30)),
    "a negative count": frame("He 0 0 0", count=-1),
    "a count of text": frame("He 0 0 0", count="two"),
    "no atoms": frame(count=0),
    "iron": GOOD + frame("Fe 0 0 0"),
    "an element there is not": frame("Xx 0 0 0"),
    "NaN": GOOD + frame("He 0 nan 0"),
    "infinity": frame("He 0 0 -inf"),
    "a position of 1e300": GOOD + frame("He 0 0 0", "He 1e300 0 0"),
    "a position of 1e400": frame("He 1e400 0 0"),
    "a cell of 1e300": frame("He 0 0 0", cell="1e300 0 0 0 1e300 0 0 0 1e300"),
    "a cell of a needle's width": frame("He 0 0 0", cell="1e-8 0 0 0 1e-8 0 0 0 1e10"),
    "a cell of a needle's width and sane length": frame("He 0 0 0", cell="1e-4 0 0 0 1e-4 0 0 0 1e5"),
    "a cell as flat as nothing": frame("He 0 0 0", cell="1e5 0 0 0 1e5 0 0 0 1e-7"),
    "a tiny cell": frame("He 0 0 0", cell="0.02 0 0 0 0.02 0 0 0 0.02"),
    "a flat cell": frame("He 0 0 0", cell="4 0 0 0 4 0 4 4 0"),
    "a cell of NaN": frame("He 0 0 0", cell="nan 0 0 0 4 0 0 0 4"),
    "a cell of eight numbers": frame("He 0 0 0", cell="4 0 0 0 4 0 0 0"),
    "a page of the web": "<!DOCTYPE html>\n<html>\n</html>\n",
}
PERIODIC_IN_TWO = frame("He 0 0 0", pbc="T T F")


@pytest.mark.parametrize("command", [COVERAGE, DEDUPLICATE, GENERATE])
@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_used(content, command, refused):
    refused(command, ("bad.extxyz",), {"bad.extxyz": content, "own.yaml": OWN})


@pytest.mark.parametrize("command", [COVERAGE, DEDUPLICATE])
def test_periodic_in_two_directions(command, refused):
    refused(command, ("bad.extxyz, frame 0", "pbc"), {"bad.extxyz": PERIODIC_IN_TWO})


def test_the_frame_is_named(refused):
    for command in (COVERAGE, DEDUPLICATE, GENERATE):
        refused(command, ("frame 1",), {"bad.extxyz": FILES["iron"], "own.yaml": OWN})
        refused(command, ("frame 1", "1e.300"), {"bad.extxyz": FILES["a position of 1e300"]})


CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{}
"""
FORMATS = [
    ("half.cif", CIF.format("")[:150]),
    ("iron.cif", CIF.format("Fe1 Fe 0 0 0 1")),
    ("partly.cif", CIF.format("Na1 Na 0 0 0 0.5")),
    ("huge.cif", CIF.format("He1 He 0 0 0 1").replace("_a 4", "_a 1e300")),
    ("nan.cif", CIF.format("He1 He nan 0 0 1")),
    ("binary.cif", bytes(range(256))),
    ("list.json", "[1, 2]"),
    ("deep.json", "[" * 20000),
    ("cut.json", '{"@module": "pymatgen.core.structure", "@cl'),
    ("POSCAR", "x\n1.0\n4 0 0\n0 4 0\n"),
    ("POSCAR", bytes(range(256))),
    ("POSCAR", "x\n1e300\n4 0 0\n0 4 0\n0 0 4\nHe\n1\nDirect\n0 0 0\n"),
    ("POSCAR", "x\n1\n4 0 0\n0 4 0\n0 0 4\nHe\n1000000000000\nDirect\n0 0 0\n"),
    ("notes.txt", "nothing of use\n"),
    ("empty", ""),
]


@pytest.mark.parametrize(("name", "content"), FORMATS)
def test_own_structures_that_cannot_be_used(name, content, refused):
    refused(GENERATE, ("own.yaml", name), {name: content, "own.yaml": f"source: user\nfiles: [{name}]\n"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no.extxyz", "no such file"),
        ("''", "expected a file, or a folder"),
        ("model", "expected a file, or a folder"),
        ("dataset", "expected a file, or a folder"),
        ("group:mine", "campaign files only"),
        ("/dev/zero", "no such file"),
        ("loop", "no such file"),
        ("loop.extxyz", "no such file"),
        ("starts.extxyz/x", "no such file"),
        (f"{'n' * 300}.extxyz", "no such file|too long"),
        ('"a\\0b.extxyz"', "no such file|null"),
    ],
)
def test_own_files_that_are_none(name, said, folder, refused):
    for loop in ("loop", "loop.extxyz"):
        (folder / loop).symlink_to(loop)
    refused(GENERATE, ("own.yaml", said), {"own.yaml": f"source: user\nfiles: [{name}]\n"})


def test_own_files_that_are_gone_when_they_are_read(folder, refused):
    recipe = "sources: [{source: packing}, {source: user, files: [starts.extxyz]}]\n"
    campaign = "generate: {recipe: own.yaml, seed_set: 50}\nlabel: {labeller: ase}\n"
    files = {"own.yaml": recipe, "campaign.yaml": campaign, "starts.extxyz": None}
    refused("generate own.yaml -n 9 -o out", ("starts.extxyz", "no such file"), files)
    from aiida_argonaut.workflows.config import load_config
    from aiida_argonaut.workflows.own import OwnFiles

    with pytest.raises(ValueError, match=r"own.yaml|recipe.*starts.extxyz: no such file"):
        OwnFiles().recipe(load_config("campaign.yaml"), "campaign.yaml")


def test_a_fifo_is_not_waited_for(folder, refused):
    os.mkfifo(folder / "bad.extxyz")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for command in (COVERAGE, DEDUPLICATE):
        refused(command, ("bad.extxyz", "no such file"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 20


def sharded(folder, name="made", **manifest):
    """A sharded folder of the good starts, in two shards; keys of its manifest may be changed, None leaves one out."""
    made = folder / name
    made.mkdir()
    text = (folder / "starts.extxyz").read_text()
    for number in range(2):
        (made / f"shard-{number:05d}.extxyz").write_text(text)
    document = {"asked": 12, "shard_size": 6, "complete": True, **manifest}
    (made / "generated.json").write_text(json.dumps({k: v for k, v in document.items() if v is not None}))
    return made


def incomplete(folder):
    sharded(folder, complete=False)


def without_a_shard(folder):
    (sharded(folder) / "shard-00001.extxyz").unlink()


def without_any_shard(folder):
    for path in sharded(folder).glob("shard-*"):
        path.unlink()


def without_a_size(folder):
    sharded(folder, shard_size=None)


def of_shards_of_nothing(folder):
    sharded(folder, shard_size=0)


def of_shards_without_measure(folder):
    sharded(folder, asked=10**300)


def empty(folder):
    (folder / "made").mkdir()


def of_something_else(folder):
    (folder / "model").rename(folder / "made")


def with_a_list_for_a_manifest(folder):
    (sharded(folder) / "generated.json").write_text("[]")


def with_rubbish_for_a_manifest(folder):
    (sharded(folder) / "generated.json").write_bytes(bytes(range(256)))


def with_a_folder_for_a_manifest(folder):
    (sharded(folder) / "generated.json").unlink()
    (folder / "made" / "generated.json").mkdir()


def with_a_bad_shard(folder):
    (sharded(folder) / "shard-00001.extxyz").write_text(FILES["iron"])


FOLDERS = [
    incomplete, without_a_shard, without_any_shard, without_a_size, of_shards_of_nothing, of_shards_without_measure,
    empty, with_a_list_for_a_manifest, with_rubbish_for_a_manifest, with_a_folder_for_a_manifest, with_a_bad_shard,
]  # fmt: skip
STRUCTURES = [
    "explore model made -o out",
    "select made --model model -n 1 -o out",
    "label-ase made -o out --calculator ase.calculators.lj:LennardJones",
    "label-table made labelled/labels.extxyz -o out",
    "coverage made",
    "deduplicate made -o out.extxyz",
    "generate own.yaml -o out.extxyz",
]
LABELLED = ["train made -o out", "evaluate model made -o out", "label-table starts.extxyz made -o out"]


@pytest.mark.parametrize("command", STRUCTURES + LABELLED)
@pytest.mark.parametrize("make", FOLDERS, ids=[make.__name__ for make in FOLDERS])
def test_a_folder_that_cannot_be_used(make, command, folder, refused):
    make(folder)
    refused(command, ("made",), {"own.yaml": "source: user\nfiles: [made]\n"})


@pytest.mark.parametrize("command", STRUCTURES[3:])
def test_a_folder_of_something_else(command, folder, refused):
    of_something_else(folder)
    refused(command, ("made: expected a file, or a folder",), {"own.yaml": "source: user\nfiles: [made]\n"})


@pytest.mark.parametrize("command", LABELLED)
def test_structures_are_no_labels(command, folder, refused):
    sharded(folder)
    refused(command, ("made, frame 0", "no energy"))


@pytest.mark.parametrize(
    "key", ["generate: {pool: made}", "generate: {recipe: recipe.yaml}\nstart: {structures: made}"]
)
@pytest.mark.parametrize("make", [*FOLDERS[:-1], of_something_else], ids=lambda make: make.__name__)
def test_a_folder_that_a_campaign_cannot_use(make, key, folder, refused):
    make(folder)
    refused("launch bad.yaml --dry-run", ("bad.yaml", "pool|structures", "made"), {"bad.yaml": key})


PLACES = [
    ("recipe.yaml/out.extxyz", "cannot be written"),
    ("/proc/1/out.extxyz", "cannot be written"),
    ("/dev/full", "cannot be written|ends in|ending in"),
    ("model.extxyz", "expected a file|is a directory"),
    (f"{'n' * 300}.extxyz", "cannot be written"),
    ("loop.extxyz", "cannot be written"),
    ("loop/out.extxyz", "cannot be written"),
    ("beside.extxyz", "beside it cannot be written"),
]


@pytest.mark.parametrize("command", ["generate recipe.yaml -n 3 -o", "deduplicate starts.extxyz -o"])
@pytest.mark.parametrize(("place", "said"), PLACES)
def test_a_place_that_cannot_be_written(command, place, said, folder, refused):
    for name in ("model.extxyz", "beside.losses.json", "beside.duplicates.json"):
        (folder / name).mkdir()
    for loop in ("loop", "loop.extxyz"):
        (folder / loop).symlink_to(loop)
    refused(f"{command} {place}", (said,))


@pytest.mark.parametrize("place", ["/proc/1/x.png", "recipe.yaml/x.png", f"{'n' * 300}.png", "model", "x.jpeg", "x"])
def test_a_figure_that_cannot_be_written(place, refused):
    refused(f"coverage starts.extxyz -o {place}", ("cannot be written|too long|is a directory|ends in",))


def test_the_files_that_are_read_are_not_written(refused, folder):
    (folder / "link.extxyz").symlink_to("starts.extxyz")
    for name in ("starts.extxyz", "link.extxyz", "./model/../starts.extxyz"):
        refused(f"deduplicate starts.extxyz -o {name}", ("write elsewhere",))


MANIFESTS = {
    "rubbish": "\x00",
    "a list": "[1]",
    "nothing": "{}",
    "text": '"x"',
    "infinite": '{"recipe_hash": 1, "seed": 1, "start": 0, "shard_size": 2500, "asked": 1e999}',
    "deep": "[" * 20000,
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS)
def test_a_folder_with_a_manifest_that_is_none(content, refused):
    refused("generate recipe.yaml -n 3 -o out", ("out",), {"out/generated.json": content})


def test_a_folder_that_holds_something_else(refused, folder):
    refused("generate recipe.yaml -n 3 -o model", ("model: holds card.json",))
    refused("generate recipe.yaml -n 3 -o out", ("out: holds notes.txt",), {"out/notes.txt": "mine"})
    refused("generate recipe.yaml -n 3 -o recipe.yaml", ("recipe.yaml", "folder"))


def test_a_folder_of_another_order(refused, folder):
    from aiida_argonaut.cli import argonaut

    assert (
        CliRunner().invoke(argonaut, ["generate", "recipe.yaml", "-n", "3", "--seed", "1", "-o", "out"]).exit_code == 0
    )
    for options, said in (
        ("-n 3 --seed 2", "seed 1"),
        ("-n 2 --seed 1", "asked 3"),
        ("-n 3 --seed 1 --start 1", "start"),
    ):
        refused(f"generate recipe.yaml {options} -o out", (said, "another folder"))
    refused("generate other.yaml -n 3 --seed 1 -o out", ("recipe_hash",), {"other.yaml": "source: dimers"})


@pytest.mark.parametrize("journal", ["\udcff\udcfe", "{}\n[]\n1\n", '{"shard": 1e999}\n', "[" * 20000, '{"shard": 0}'])
def test_a_journal_of_rubbish_is_passed_over(journal, folder):
    from aiida_argonaut.cli import argonaut

    def made():
        return CliRunner().invoke(
            argonaut, ["generate", "recipe.yaml", "-n", "3", "--seed", "1", "-o", "out", "--json"]
        )

    expected = json.loads(made().stdout)["sha256"]
    (folder / "out" / "shards.jsonl").write_bytes(os.fsencode(journal))
    done = made()
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["sha256"] == expected


@pytest.mark.parametrize(
    "command",
    [
        "generate recipe.yaml -n 2000 -o out.extxyz",
        "generate recipe.yaml -n 2000 -o out",
        "generate recipe.yaml -n 2000 --workers 2 --shard-size 900 -o out.extxyz",
        "deduplicate long.extxyz -o out.extxyz",
    ],
)
def test_a_full_disc(command, folder, tmp_path):
    """A limit on the size of files stands for it: writing fails in the same way, with another number."""
    (folder / "long.extxyz").write_text((folder / "starts.extxyz").read_text() * 9)
    before = {path.name for path in folder.iterdir()}
    limit = 4096

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [Path(sys.executable).with_name("argonaut"), *command.split()], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "AIIDA_PATH": str(tmp_path)}, preexec_fn=full, check=False,
        timeout=120,
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert "cannot be written" in done.stderr
    assert {path.name for path in folder.iterdir()} == before


def test_a_source_with_the_marks_of_a_table(folder):
    from aiida_argonaut.cli import argonaut

    marked = frame("He 0 0 0").replace(" pbc", ' source="[/bold] \\[red]" pbc')
    (folder / "marked.extxyz").write_text(marked)
    done = CliRunner().invoke(argonaut, ["coverage", "marked.extxyz"])
    assert done.exit_code == 0, done.output
    assert "[/bold]" in done.stdout


def test_names_in_any_script(folder):
    from aiida_argonaut.cli import argonaut

    (folder / "größe").mkdir()
    (folder / "größe" / "配置 'x' \"y\".extxyz").write_text((folder / "starts.extxyz").read_text())
    (folder / "größe" / "рецепт.yaml").write_text(
        "source: user\nfiles: ['配置 ''x'' \"y\".extxyz']\n", encoding="utf-8"
    )
    for words in (
        ["generate", "größe/рецепт.yaml", "-o", "größe/выход.extxyz"],
        ["generate", "größe/рецепт.yaml", "-o", "größe/выход"],
        ["coverage", "größe/выход"],
        ["deduplicate", "größe/выход", "größe/выход.extxyz", "-o", "größe/einzig.extxyz"],
    ):
        done = CliRunner().invoke(argonaut, words)
        assert done.exit_code == 0, done.output
    assert "配置" in (folder / "größe" / "einzig.extxyz").read_text(encoding="utf-8")


def labelled(folder):
    """A sharded folder of labelled frames."""
    made = sharded(folder)
    text = (folder / "labelled" / "labels.extxyz").read_text()
    for path in made.glob("shard-*"):
        path.write_text(text)


@pytest.mark.parametrize(
    ("make", "command"),
    [
        *(
            (sharded, f"{command} --config dynamics.yaml" if "explore" in command else command)
            for command in STRUCTURES
        ),
        *((labelled, f"{command} --config quick.yaml" if "train" in command else command) for command in LABELLED),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_good_folder_is_taken_by_all_of_them(make, command, folder):
    from aiida_argonaut.cli import argonaut

    make(folder)
    (folder / "own.yaml").write_text("source: user\nfiles: [made]\n")
    done = CliRunner().invoke(argonaut, command.split())
    assert done.exit_code == 0, done.output


def test_a_good_folder_is_taken_by_a_campaign(folder):
    from aiida_argonaut.workflows.config import load_config
    from aiida_argonaut.workflows.own import read_own

    labelled(folder)
    ase = "label: {labeller: ase}\n"
    for text, link, count in (
        ("generate: {pool: made}\n", "pool", 12),
        ("generate: {recipe: recipe.yaml}\nstart: {structures: made}\n", "structures", 12),
        ("generate: {recipe: recipe.yaml}\nstart: {data: made}\n", "data", None),
        ("generate: {recipe: recipe.yaml}\nlabel: {labeller: table, table: made}\n", "table", 6),
    ):
        (folder / "campaign.yaml").write_text(text if "label:" in text else text + ase)
        found = getattr(read_own(load_config("campaign.yaml"), "campaign.yaml"), link)
        assert len(found) == count if count else found.endswith("made")
