"""The price of a campaign against what it cost: rows of the table in docs/prices.md, from a finished campaign.

    argonaut launch examples/demo.yaml --dry-run --json > before.json       # in a new profile
    argonaut launch examples/demo.yaml --dry-run --json > after.json        # in the one that holds the campaign
    python benchmarks/price_demo.py PK before.json after.json

Run it where `verdi` sees the profile `argonaut` of that campaign. Also prints what the small constants of
workflows/price.py and workflows/price_labels.py were taken from.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from aiida import load_profile, orm

from aiida_argonaut.provenance_db.queries import STAGES, campaign_summary, load_campaign
from aiida_argonaut.provenance_db.spending import Job, jobs


def folder_bytes(job: Job) -> int:
    """What a job left on the computer; only where that is this one."""
    node: Any = orm.load_node(job.pk)
    return sum(path.stat().st_size for path in Path(node.get_remote_workdir()).rglob("*") if path.is_file())


def node_bytes(nodes: list[Any], seen: set[bytes]) -> int:
    """Bytes of the files of some nodes; of equal files AiiDA keeps one."""
    total = 0
    for node in nodes:
        for root, _, files in node.base.repository.walk():
            for content in (node.base.repository.get_object_content(str(root / file), "rb") for file in files):
                key = hashlib.sha256(content).digest()
                total += 0 if key in seen else len(content)
                seen.add(key)
    return total


def ranged(value: dict[str, float], scale: float = 1.0, digits: int = 3) -> str:
    """'0.060 (0.051-0.073)'."""
    low, expected, high = (f"{value[key] * scale:.{digits}f}" for key in ("low", "expected", "high"))
    return f"{expected} ({low}-{high})"


def rows(before: dict[str, Any], after: dict[str, Any], spent: list[Job], walls: dict[str, float]) -> list[str]:
    """A row of Markdown per stage, and the sum: core-hours and minutes."""
    lines = []
    for one, other in zip([*before["stages"], before["totals"]], [*after["stages"], after["totals"]], strict=True):
        stage = one["stage"]
        mine = [job for job in spent if stage in ("total", job.stage)]
        hours = sum(job.cores * job.seconds for job in mine) / 3600
        lines.append(
            f"| {stage} | {one['jobs']} / {len(mine)} "
            f"| {ranged(one['core_hours'])} | {ranged(other['core_hours'])} | {hours:.3f} "
            f"| {ranged(one['wall_hours'], 60, 1)} | {ranged(other['wall_hours'], 60, 1)} | {walls[stage] / 60:.1f} |"
        )
    return lines


def main() -> None:
    """Print the rows and the constants."""
    pk, before, after = sys.argv[1], *(json.loads(Path(name).read_text()) for name in sys.argv[2:4])
    load_profile("argonaut")
    campaign = load_campaign(pk)
    summary = campaign_summary(campaign)
    spent = [job for job in jobs([campaign]) if not job.cached]
    times = [iteration["seconds"] for iteration in summary["iterations"]]
    walls = {stage: sum(time.get(stage, 0.0) for time in times) for stage in (*STAGES, "total")}
    print("\n".join(rows(before, after, spent, walls)))
    seen: set[bytes] = set()
    for stage in STAGES:
        mine = [job for job in spent if job.stage == stage]
        linked = [link.node for job in mine for link in orm.load_node(job.pk).base.links.get_outgoing().all()]
        scratch = sum(folder_bytes(job) for job in mine)
        files = node_bytes([node for node in linked if isinstance(node, orm.Data)], seen)
        each = np.mean([job.seconds for job in mine])
        print(f"{stage}: {each:.2f} s a job, scratch {scratch / 1e6:.1f} MB, repository {files / 1e6:.2f} MB")
    width = campaign.inputs.settings["label"]["max_jobs"]
    labels = [job for job in spent if job.stage == "label"]
    print(f"AiiDA per label: {(width * walls['label'] - sum(job.seconds for job in labels)) / len(labels):.1f} s")


if __name__ == "__main__":
    main()
