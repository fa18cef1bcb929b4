"""What `argonaut status` prints of labels adds up."""

import io

import pytest
from rich.console import Console

from aiida_argonaut.provenance_db.accounts import account_summary, label_account
from aiida_argonaut.workflows.cli import tables

LOSS = {"configuration_id": "c", "formula": "BeH2", "source": "packing", "reason": "force_cap", "message": "85 eV/Å"}
ACCOUNT = {
    "submitted": 112, "ok": 110, "lost": [LOSS],
    "rescued": [{"configuration_id": "d", "formula": "HLi", "source": "dimers", "rung": "local-TF"}],
    "sources": {"packing": [100, 99, 0, 1], "dimers": [12, 11, 1, 0]},
    "elements": {"H": [60, 58, 1, 1], "Be": [112, 110, 1, 1]},
}  # fmt: skip


def iteration(labels):
    return {
        "number": 1, "pk": 1234, "state": "finished", "exit_status": 0, "stage": "done", "labels": labels,
        "seconds": {"total": 7100.0, "label": 3000.0}, "dataset": {"n_frames": 111},
    }  # fmt: skip


def printed(*renderables):
    sink = io.StringIO()
    console = Console(file=sink, width=120)
    for each in renderables:
        console.print(each)
    return [line.split() for line in sink.getvalue().splitlines()]


def test_a_row_has_all_three_ends_of_a_label():
    rows = printed(tables.iteration_table([iteration(account_summary(ACCOUNT))]))
    head = next(row for row in rows if "resc" in row)
    row = next(row for row in rows if "1234" in row)[1:]  # the number of the iteration has no head
    assert dict(zip(head, row, strict=False)) | {"ok": "110", "resc": "1", "lost": "1", "frames": "111"} == dict(
        zip(head, row, strict=False)
    )
    lines = tables.details([iteration(account_summary(ACCOUNT))])
    assert lines[0] == "iteration 1: labels: 112 submitted = 110 ok + 1 rescued + 1 lost; rescued: local-TF 1"
    assert lines[1] == "iteration 1: lost BeH2 (packing): force_cap: 85 eV/Å"


@pytest.mark.parametrize("labels", [None, {"submitted": 4, "ended": 2, "in_flight": 1}])
def test_labels_without_an_account_say_nothing_of_their_ends(labels):
    assert not any("labels:" in line for line in tables.details([iteration(labels)]))
    assert printed(tables.iteration_table([iteration(labels)]))


def test_tables_by_source_and_element_are_those_of_the_account():
    rows = printed(*tables.label_tables(label_account([account_summary(ACCOUNT)])))
    assert ["packing", "100", "99", "0", "1", "force_cap", "1"] in rows
    assert ["dimers", "12", "11", "1", "0"] in rows
    assert ["Be", "112", "110", "1", "1", "force_cap", "1"] in rows
