"""What became of the cells of own_labels.yaml when `argonaut label` labelled them: the account, by source and reason.

Reads the files that `argonaut label` has written (own_labels.yaml says by which commands); nothing is run.

    python benchmarks/own_labels.py
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
FILES = ("own_labels.losses.json", "own_labels_more.losses.json")
ATOMS = "reference_atom"


def accounts() -> list[dict[str, Any]]:
    """The accounts of both commands."""
    return [json.loads((RESULTS / name).read_text()) for name in FILES]


def table(given: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: submitted = ok + rescued + lost, by source, free atoms apart; then the reasons."""
    sources: dict[str, list[int]] = {}
    for account in given:
        for name, counts in account["sources"].items():
            sources[name] = [sum(pair) for pair in zip(sources.get(name, [0] * 4), counts, strict=True)]
    free = sources.pop(ATOMS)
    rows = [*sorted(sources.items()), ("all", [sum(each) for each in zip(*sources.values(), strict=True)])]
    reasons = Counter((one["source"], one["reason"]) for account in given for one in account["lost"])
    rungs = Counter(one["rung"] or "empty_bands" for account in given for one in account["rescued"])
    lines = ["| source | submitted | ok | rescued | lost | reasons |", "|---|---|---|---|---|---|"]
    for name, (submitted, ok, rescued, lost) in [*rows, ("free atoms", free)]:
        chosen = Counter()
        for (source, reason), count in reasons.items():
            chosen[reason] += count if name in (source, "all") else 0
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(chosen.items()) if count) or "-"
        lines.append(f"| {name} | {submitted} | {ok} | {rescued} | {lost} | {told} |")
    lines.append("")
    lines.append("Rescued: " + ", ".join(f"{count} by `{rung}`" for rung, count in sorted(rungs.items())) + ".")
    return lines


if __name__ == "__main__":
    print("\n".join(table(accounts())))
