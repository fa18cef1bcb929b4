"""Accounts of labels as tables: asked for, good at once, rescued and lost, by source and by element. Knows no AiiDA.

The accounts are those that labellers leave (mlip/labelling.py says what is in them).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ase.data import atomic_numbers

COLUMNS = ("submitted", "ok", "rescued", "lost")
UNKNOWN = "not recorded"
"""Source and element of the good labels of an account that was written before accounts had them."""


def account_summary(account: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of one account: submitted = ok + all of `rescued` (labels by rung) + the number of `lost`.

    `sources` and `elements` are rows of COLUMNS by name; a label counts once for each element that it contains.
    """
    lost = account["lost"]
    return {
        "submitted": account["submitted"],
        "ok": account["ok"],
        "rescued": dict(Counter(str(entry["rung"]) for entry in account.get("rescued", []))),
        "lost": lost,
        "reasons": dict(Counter(loss["reason"] for loss in lost)),
        "sources": _rows(account, "sources"),
        "elements": _rows(account, "elements"),
    }


def label_account(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several summaries as one, with the reasons of losses by source and by element; unfinished ones do not count.

    Returns COLUMNS, with `rescued` by rung, and `sources` and `elements`: by name, COLUMNS and `reasons`.
    """
    known = [each for each in summaries if "ok" in each]
    rescued: Counter[str] = Counter()
    for each in known:
        rescued.update(each.get("rescued", {}))
    return {
        "submitted": sum(each["submitted"] for each in known),
        "ok": sum(each["ok"] for each in known),
        "rescued": dict(rescued),
        "lost": sum(len(each["lost"]) for each in known),
        "sources": _table(known, "sources"),
        "elements": _table(known, "elements"),
    }


def adding_up(submitted: int, ok: int, rescued: int, lost: int, rest: str = "") -> str:
    """'9 submitted = 7 ok + 1 rescued + 1 lost'; of rescued labels nothing is said where there are none."""
    return f"{submitted} submitted = {ok} ok{f' + {rescued} rescued' if rescued else ''} + {lost} lost{rest}"


def _table(summaries: list[Mapping[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {**dict.fromkeys(COLUMNS, 0), "reasons": Counter()})
    for each in summaries:
        for name, row in _rows(each, key).items():
            for column, number in zip(COLUMNS, row, strict=True):
                found[name][column] += number
        for loss in each["lost"]:
            for name in _names(loss, key):
                found[name]["reasons"][loss["reason"]] += 1
    rows = {name: {**row, "reasons": dict(row["reasons"].most_common())} for name, row in found.items()}
    if key == "elements":
        return dict(sorted(rows.items(), key=lambda row: atomic_numbers.get(row[0], 1000)))
    return dict(sorted(rows.items(), key=lambda row: (row[0] == UNKNOWN, -row[1]["submitted"], row[0])))


def _rows(account: Mapping[str, Any], key: str) -> dict[str, list[int]]:
    """As they stand in the account, or as far as an older one tells: the losses by name, the good labels as UNKNOWN."""
    if key in account:
        return {name: list(row) for name, row in account[key].items()}
    lost = Counter(name for loss in account["lost"] for name in _names(loss, key))
    rows = {name: [count, 0, 0, count] for name, count in lost.items()}
    if account["ok"]:
        row = rows.setdefault(UNKNOWN, [0, 0, 0, 0])
        rows[UNKNOWN] = [row[0] + account["ok"], account["ok"], 0, row[3]]
    return rows


def _names(entry: Mapping[str, Any], key: str) -> list[str]:
    """Source, or elements, of an entry."""
    if key == "sources":
        return [str(entry.get("source") or UNKNOWN)]
    symbols = [
        symbol for symbol in re.findall("[A-Z][a-z]?", str(entry.get("formula", ""))) if symbol in atomic_numbers
    ]
    return sorted(set(symbols)) or [UNKNOWN]
