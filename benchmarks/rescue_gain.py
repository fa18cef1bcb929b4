"""What the rescue ladder gains over the stock handlers of PwBaseWorkChain, on the labels of a profile that failed.

Looks up every label of the profile whose first calculation did not become self-consistent, and gives the same inputs to
a plain PwBaseWorkChain (aiida-quantumespresso's own handlers: mixing_beta times 0.8 from the density so far, five
calculations at most). The daemon of the profile must run. Results are kept in results/rescue_gain.json.

    python benchmarks/rescue_gain.py --profile argonaut            # labels made by the commands of own_labels.yaml
    python benchmarks/rescue_gain.py --table
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from aiida import load_profile, orm
from aiida.engine import submit
from aiida.plugins import WorkflowFactory

from aiida_argonaut.workflows.pw_failures import SCF_STATUSES
from aiida_argonaut.workflows.pw_rescue import RESCUE, rung_of

RESULTS = Path(__file__).parent / "results" / "rescue_gain.json"


def failures() -> list[tuple[orm.CalcJobNode, orm.WorkChainNode]]:
    """Calculations that did not become self-consistent, each with the work chain that took it over."""
    found = []
    for rescue in orm.QueryBuilder().append(orm.WorkChainNode, filters={"process_type": RESCUE}).all(flat=True):
        failed = rescue.inputs.failed.creator
        if failed.exit_status in SCF_STATUSES:
            found.append((failed, rescue))
    return found


def cost(chain: orm.WorkChainNode) -> dict[str, Any]:
    """Calculations of a work chain, and the CPU seconds of pw.x in them."""
    runs = sorted((node for node in chain.called if isinstance(node, orm.CalcJobNode)), key=lambda node: node.pk)
    return {"exit_status": chain.exit_status, "calculations": len(runs), "cpu_s": round(sum(map(cpu_seconds, runs)), 1)}


def cpu_seconds(calculation: orm.CalcJobNode) -> float:
    """What pw.x says at its end; zero where it says nothing."""
    told = calculation.outputs.retrieved.get_object_content("aiida.out")
    match = re.findall(r"PWSCF\s+:\s+(?:(\d+)h)?\s*(?:(\d+)m)?\s*([\d.]+)s CPU", told)
    if not match:
        return 0.0
    hours, minutes, seconds = match[-1]
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes or 0) + float(seconds)


def stock(failed: orm.CalcJobNode) -> dict[str, Any]:
    """The same label by PwBaseWorkChain, from the beginning, nothing taken from the cache."""
    builder = WorkflowFactory("quantumespresso.pw.base").get_builder()
    given = failed.inputs
    builder.kpoints = given.kpoints
    for name in ("code", "structure", "parameters"):
        builder.pw[name] = given[name]
    builder.pw.pseudos = dict(given.pseudos)
    builder.pw.metadata.options = {key: failed.get_option(key) for key in ("resources", "withmpi")}
    builder.pw.metadata.disable_cache = True
    builder.max_iterations = orm.Int(5)
    chain = submit(builder)
    while not chain.is_terminated:
        time.sleep(5)
    return cost(chain)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| label | exit status | ladder | calculations, CPU s | stock handlers | calculations, CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ladder, plain = row["ladder"], row["stock"]
        ended = "converged" if plain["exit_status"] == 0 else f"given up ({plain['exit_status']})"
        lines.append(
            f"| {row['formula']} | {row['first_exit_status']} | `{row['rung']}` | {ladder['calculations']}, "
            f"{ladder['cpu_s']:.0f} | {ended} | {plain['calculations']}, {plain['cpu_s']:.0f} |"
        )
    return lines


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    if not options.table:
        load_profile(options.profile)
        for failed, rescue in failures():
            if str(failed.uuid) in [row["calculation"] for row in rows]:
                continue
            rows.append(
                {
                    "calculation": str(failed.uuid), "formula": failed.inputs.structure.get_formula(),
                    "first_exit_status": failed.exit_status,
                    "rung": rung_of(rescue), "ladder": cost(rescue), "stock": stock(failed),
                }
            )  # fmt: skip
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
