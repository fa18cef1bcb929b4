"""What a compute job left decides its exit code: nothing, an unreadable file, or an account without a single frame."""

import json

import pytest


@pytest.fixture
def parse(profile, tmp_path):
    """parse(entry point, {file: text}) -> (exit code, outputs by name)."""
    from aiida import orm
    from aiida.common.links import LinkType
    from aiida.plugins import ParserFactory
    from aiida.plugins.entry_point import format_entry_point_string

    def parsed(name, files):
        computer = orm.Computer(
            label=name, hostname="localhost", transport_type="core.local", scheduler_type="core.direct"
        ).store()
        node = orm.CalcJobNode(computer=computer, process_type=format_entry_point_string("aiida.calculations", name))
        node.store()
        folder = orm.FolderData()
        for path, text in files.items():
            folder.base.repository.put_object_from_bytes(text.encode(), path)
        folder.base.links.add_incoming(node, LinkType.CREATE, "retrieved")
        folder.store()
        parser = ParserFactory(name)(node)
        return parser.parse(), dict(parser.outputs)

    return parsed


def test_missing_files_quote_the_last_words(parse):
    code, outputs = parse("argonaut.generate", {"argonaut.err": "argonaut: recipe.yaml: unknown key 'atomz'"})
    assert (code.status, outputs) == (300, {})
    assert "frames.extxyz" in code.message
    assert "unknown key 'atomz'" in code.message


def test_unreadable_files_are_named(parse):
    losses = {"asked": 2, "made": 1, "lost": [{"index": 0, "message": "not packed"}]}
    files = {"output/frames.extxyz": "two\nfoo\n", "output/frames.losses.json": json.dumps(losses)}
    code, outputs = parse("argonaut.generate", files)
    assert outputs["losses"].get_dict() == losses
    assert code.status == 310
    assert "frames.extxyz" in code.message
    assert "/" not in code.message.replace("output/", "")


@pytest.mark.parametrize(
    ("name", "files", "kept"),
    [
        ("argonaut.explore", {"frames.extxyz": "", "trajectories.json": {"n_frames": 0, "reasons": {"nonfinite": 3}}},
         "trajectories"),
        ("argonaut.select", {"candidates.extxyz": "", "selection.json": {"reached": 0, "counts": {"unphysical": 3}}},
         "selection"),
    ],
)  # fmt: skip
def test_no_frame_at_all_has_a_code_of_its_own_and_keeps_the_account(parse, name, files, kept):
    texts = {f"output/{path}": text if isinstance(text, str) else json.dumps(text) for path, text in files.items()}
    code, outputs = parse(name, texts)
    assert code.status == 320
    assert list(outputs) == [kept]
    assert ("nonfinite" if kept == "trajectories" else "unphysical") in code.message
