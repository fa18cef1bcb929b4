"""Accounts of labels add up in all, by source and by element, also those from before they were counted like this."""

import pytest

from aiida_argonaut.provenance_db.accounts import COLUMNS, UNKNOWN, account_summary, adding_up, label_account

LOSS = {"configuration_id": "c1", "formula": "BeH2", "source": "packing", "reason": "force_cap", "message": "85 eV/Å"}
NEW = {
    "submitted": 6, "ok": 3,
    "rescued": [
        {"configuration_id": "c2", "formula": "HLi", "source": "dimers", "rung": "local-TF"},
        {"configuration_id": "c3", "formula": "H2", "source": "dimers", "rung": "local-TF"},
    ],
    "lost": [LOSS],
    "sources": {"dimers": [3, 1, 2, 0], "packing": [3, 2, 0, 1]},
    "elements": {"Be": [2, 1, 0, 1], "H": [5, 2, 2, 1], "Li": [2, 1, 1, 0]},
}  # fmt: skip
OLD = {"submitted": 4, "ok": 2, "lost": [LOSS, {**LOSS, "formula": "Cl2", "reason": "scf_not_converged"}]}


def test_a_summary_counts_what_the_account_lists():
    summary = account_summary(NEW)
    assert summary["rescued"] == {"local-TF": 2}
    assert summary["reasons"] == {"force_cap": 1}
    assert summary["submitted"] == summary["ok"] + sum(summary["rescued"].values()) + len(summary["lost"])
    assert summary["sources"] == NEW["sources"]


def test_an_account_without_rescued_labels_is_read():
    summary = account_summary(OLD)
    assert (summary["ok"], summary["rescued"], len(summary["lost"])) == (2, {}, 2)
    assert summary["sources"] == {"packing": [2, 0, 0, 2], UNKNOWN: [2, 2, 0, 0]}


@pytest.mark.parametrize("accounts", [[], [NEW], [OLD], [NEW, OLD], [OLD, NEW, NEW]])
def test_tables_add_up(accounts):
    told = label_account(map(account_summary, accounts))
    assert told["submitted"] == told["ok"] + sum(told["rescued"].values()) + told["lost"]
    rows = list(told["sources"].values())
    totals = (told["submitted"], told["ok"], sum(told["rescued"].values()), told["lost"])
    assert tuple(sum(row[column] for row in rows) for column in COLUMNS) == totals
    for row in [*rows, *told["elements"].values()]:
        assert row["submitted"] == row["ok"] + row["rescued"] + row["lost"]
        assert sum(row["reasons"].values()) == row["lost"]


def test_elements_are_in_their_order_and_reasons_with_them():
    told = label_account([account_summary(NEW), account_summary(OLD)])
    assert list(told["elements"]) == ["H", "Li", "Be", "Cl", UNKNOWN]
    assert told["elements"]["Be"] == {"submitted": 3, "ok": 1, "rescued": 0, "lost": 2, "reasons": {"force_cap": 2}}
    assert told["elements"]["Cl"]["reasons"] == {"scf_not_converged": 1}
    assert list(told["sources"]) == ["packing", "dimers", UNKNOWN]
    assert told["sources"]["packing"]["reasons"] == {"force_cap": 2, "scf_not_converged": 1}


def test_labels_that_still_run_are_in_no_account():
    told = label_account([account_summary(NEW), {"submitted": 4, "ended": 2, "in_flight": 1}])
    assert told["submitted"] == 6


def test_a_loss_of_an_unknown_kind_is_counted_somewhere():
    told = label_account([account_summary({"submitted": 1, "ok": 0, "lost": [{"reason": "cholesky"}]})])
    expected = {"submitted": 1, "ok": 0, "rescued": 0, "lost": 1, "reasons": {"cholesky": 1}}
    assert told["sources"] == told["elements"] == {UNKNOWN: expected}


def test_the_line_names_rescued_labels_where_there_are_some():
    assert adding_up(9, 7, 0, 2) == "9 submitted = 7 ok + 2 lost"
    assert adding_up(9, 6, 1, 2, " + 0 open") == "9 submitted = 6 ok + 1 rescued + 2 lost + 0 open"
