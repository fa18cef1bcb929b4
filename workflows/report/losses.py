"""What was rescued and lost, and why: every label is accounted for, and the page shows that it adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...provenance_db.accounts import COLUMNS, adding_up, label_account
from .story import Story, name_of, number_of

FORMULAE = 8
"""Named per reason; the rest is counted."""


@dataclass(frozen=True)
class Reason:
    """All losses with one reason."""

    reason: str
    count: int
    share: str
    """Of the submitted labels."""
    formulae: str
    message: str
    """The commonest."""


@dataclass(frozen=True)
class Account:
    """submitted = ok + rescued + lost (+ open); an iteration that was begun again counts once, the last time."""

    submitted: int
    ok: int
    """Good at the first attempt."""
    rescued: int
    """Good after a remedy."""
    lost: int
    open: int
    """None of these: running, waiting, or left behind by a campaign that was stopped."""
    rows: tuple[tuple[str, int, int, int, int, int], ...]
    """(iteration, submitted, ok, rescued, lost, open)."""
    rungs: tuple[tuple[str, int], ...]
    """(remedy, labels that it rescued), most first."""
    sources: tuple[tuple[str, int, int, int, int, str], ...]
    """(source, submitted, ok, rescued, lost, reasons); without open labels."""
    elements: tuple[tuple[str, int, int, int, int, str], ...]
    """The same by element; a label counts once for each element that it contains."""
    reasons: tuple[Reason, ...]
    losses: tuple[tuple[str, Mapping[str, Any]], ...]
    """(iteration, loss) one per lost label."""

    @property
    def line(self) -> str:
        """The accounting line."""
        rest = f" + {self.open} open" if self.open else ""
        return adding_up(self.submitted, self.ok, self.rescued, self.lost, rest)

    @property
    def adds_up(self) -> bool:
        """Whether nothing disappeared."""
        return self.submitted == self.ok + self.rescued + self.lost + self.open


def account(story: Story) -> Account:
    """Of all iterations."""
    rows: list[tuple[str, int, int, int, int, int]] = []
    losses: list[tuple[str, Mapping[str, Any]]] = []
    for place, each in counted(story):
        labels = each["labels"]
        name, lost = name_of(each, place), list(labels.get("lost", ()))
        left = 0 if "ok" in labels else labels["submitted"]
        rescued = sum(labels.get("rescued", {}).values())
        rows.append((name, labels["submitted"], labels.get("ok", 0), rescued, len(lost), left))
        losses += [(name, loss) for loss in lost]
    numbers = [row[1:] for row in rows]
    submitted, ok, saved, gone, left = (sum(row[k] for row in numbers) for k in range(5))
    reasons = tuple(
        _reason(name, losses, submitted) for name, _ in Counter(x["reason"] for _, x in losses).most_common()
    )
    tables = label_account(each["labels"] for _, each in counted(story))
    rungs = tuple(Counter(tables["rescued"]).most_common())
    sources, elements = _table(tables["sources"]), _table(tables["elements"])
    return Account(submitted, ok, saved, gone, left, tuple(rows), rungs, sources, elements, reasons, tuple(losses))


def _table(rows: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(
        (name, *(row[column] for column in COLUMNS), ", ".join(f"{why} {n}" for why, n in row["reasons"].items()))
        for name, row in rows.items()
    )


def counted(story: Story) -> list[tuple[int, Mapping[str, Any]]]:
    """(position, iteration) of those that labelled; of several attempts at one, which take over labels, the last."""
    last = {number_of(each, place): place for place, each in enumerate(story.iterations) if each.get("labels")}
    return [(place, story.iterations[place]) for place in sorted(last.values())]


def _reason(reason: str, losses: list[tuple[str, Any]], submitted: int) -> Reason:
    own = [loss for _, loss in losses if loss["reason"] == reason]
    formulae = Counter(str(loss.get("formula", "?")) for loss in own).most_common()
    named = ", ".join(f"{formula} ×{count}" if count > 1 else formula for formula, count in formulae[:FORMULAE])
    more = f" and {len(formulae) - FORMULAE} more" if len(formulae) > FORMULAE else ""
    message = Counter(str(loss.get("message", "")) for loss in own).most_common(1)[0][0]
    return Reason(reason, len(own), f"{len(own) / max(submitted, 1):.1%}", named + more, message)
