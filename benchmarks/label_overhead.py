"""What AiiDA adds to a label: `argonaut label` and PwBaseWorkChain against a shell loop, turn by turn.

    python benchmarks/label_overhead.py --rounds 3 -n 24

Two-atom cells whose pw.x run takes some tenths of a second, in a profile of their own with a daemon of two workers.
Each round makes new cells (nothing comes from the cache), labels them; then submits the same inputs, their cells one
part in a million larger, to the PwBaseWorkChain of aiida-quantumespresso alone, as many in flight; and then runs pw.x
in copies of the folders in which the jobs ran, two at a time. Wall time is that from the first creation to the last
end; CPU time is that of the daemon and all it has waited for: pw.x runs detached from it and does not count. Results:
benchmarks/results/label_overhead.json. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ase
import ase.io
import psutil

RESULTS = Path(__file__).parent / "results" / "label_overhead.json"
FACTS = """
import json, sys
from aiida import load_profile, orm
load_profile()
from aiida_argonaut.provenance_db.queries import descendants
chain = orm.load_node(int(sys.argv[1]))
jobs = [node for node in descendants(chain) if node.process_label == "PwCalculation"]
print(json.dumps({
    "seconds": (chain.mtime - chain.ctime).total_seconds(), "folders": [job.get_remote_workdir() for job in jobs],
    "cached": sum(job.base.caching.is_created_from_cache for job in jobs), "jobs": [job.pk for job in jobs],
}))
"""
STOCK = """
import json, sys, time
from aiida import load_profile, orm
from aiida.engine import submit
from aiida.plugins import WorkflowFactory
load_profile()
width, *jobs = map(int, sys.argv[1:])
wanted = []
for job in jobs:
    builder = orm.load_node(job).get_builder_restart()
    calculation = {key: value for key, value in builder._inputs(prune=True).items() if key != "kpoints"}
    atoms = builder.structure.get_ase()
    atoms.set_cell(atoms.cell * (1 + 1e-6), scale_atoms=True)
    options = {key: builder.metadata.options[key] for key in ("resources", "max_wallclock_seconds", "withmpi")}
    calculation |= {"structure": orm.StructureData(ase=atoms), "metadata": {"options": options}}
    calculation.pop("monitors", None)
    wanted.append({"pw": calculation, "kpoints": builder.kpoints})
begin, nodes = time.time(), []
while True:
    ended = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={"id": {"in": [node.pk for node in nodes] or [-1]},
                                    "attributes.process_state": {"in": ["finished", "excepted", "killed"]}}).count()
    if ended == len(jobs):
        break
    for _ in range(min(width - (len(nodes) - ended), len(wanted))):
        nodes.append(submit(WorkflowFactory("quantumespresso.pw.base"), **wanted.pop(0)))
    time.sleep(0.5)
assert all(node.is_finished_ok for node in nodes), [node.exit_message for node in nodes]
assert not any(job.base.caching.is_created_from_cache for node in nodes for job in node.called)
print(json.dumps({"seconds": time.time() - begin}))
"""


class Site:
    """A profile and a daemon in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "AIIDA_PATH": str(folder), "PATH": tools, "OMP_NUM_THREADS": "1"}

    def run(self, *words: str | Path) -> str:
        """Output of a command; an error ends the benchmark with what it said."""
        done = subprocess.run(
            [str(word) for word in words], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def daemon_cpu(self) -> float:
        """CPU seconds of the daemon's processes so far."""
        (pidfile,) = (self.folder / ".aiida" / "daemon").glob("circus-*.pid")
        daemon = psutil.Process(int(pidfile.read_text()))
        return sum(sum(each.cpu_times()[:4]) for each in [daemon, *daemon.children(recursive=True)])


def cells(number: int, turn: int) -> list[ase.Atoms]:
    """Two helium atoms each, no two cells alike."""
    made = []
    for index in range(number):
        edge = 3.2 + 1e-3 * index + 1e-5 * (turn + 1)
        positions = [[0, 0, 0], [0.5 * edge, 0.45 * edge, 0.5 * edge]]
        made.append(ase.Atoms("He2", positions, cell=3 * [edge], pbc=True))
    return made


def in_aiida(site: Site, number: int, turn: int, width: int) -> dict[str, Any]:
    """Label new cells by the command."""
    ase.io.write(site.folder / "cells.extxyz", cells(number, turn))
    before = site.daemon_cpu()
    said = site.run(
        "argonaut", "label", "cells.extxyz", "-o", f"labels-{turn}.extxyz", "--protocol", "fast", "--max-jobs",
        str(width), "--json",
    )  # fmt: skip
    account = json.loads(said[said.index("{") :])
    if account["ok"] != number:
        raise SystemExit(f"{account['ok']} of {number} labels are good: nothing to compare")
    facts: dict[str, Any] = json.loads(site.run("python", "-c", FACTS, str(account["work_chain"]["pk"])))
    return {**facts, "cpu": site.daemon_cpu() - before}


def in_stock(site: Site, jobs: list[int], width: int) -> dict[str, float]:
    """Run what these jobs ran in work chains of aiida-quantumespresso."""
    before = site.daemon_cpu()
    said = site.run("python", "-W", "ignore", "-c", STOCK, str(width), *map(str, jobs))
    return {**json.loads(said.splitlines()[-1]), "cpu": site.daemon_cpu() - before}


def in_shell(site: Site, folders: list[str]) -> float:
    """Wall seconds of pw.x in copies of these folders, two at a time."""
    copies = site.folder / "shell"
    shutil.rmtree(copies, ignore_errors=True)
    for number, folder in enumerate(folders):
        shutil.copytree(folder, copies / str(number), ignore=shutil.ignore_patterns("out", "aiida.out", "*.xml"))
        (copies / str(number) / "out").mkdir()
    begin = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: _one(site, copies / str(number)), range(len(folders))))
    return time.perf_counter() - begin


def _one(site: Site, folder: Path) -> None:
    with (folder / "pw.out").open("w") as sink:
        subprocess.run(["pw.x", "-in", "aiida.in"], cwd=folder, env=site.environment, stdout=sink, check=True)


def table(found: dict[str, Any]) -> list[str]:
    """The table of docs/prices.md."""
    told = {key: f"{value:.2f}" for key, value in found["per_label"].items()}
    rows = [("PwBaseWorkChain alone", "stock"), ("`argonaut label`", "label")]
    return [
        "| | wall, s | above the shell loop, s | CPU of the daemon, s |",
        "|---|---|---|---|",
        f"| shell loop | {told['shell_wall_s']} | - | - |",
        *(
            f"| {name} | {told[f'{key}_wall_s']} | {told[f'{key}_above_wall_s']} | {told[f'{key}_cpu_s']} |"
            for name, key in rows
        ),
    ]


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=24, help="labels per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=8, help="labels in flight")
    options = parser.parse_args()
    site = Site(Path(tempfile.mkdtemp(prefix="argonaut-overhead-")))
    rounds = []
    try:
        site.run("argonaut", "setup")
        site.run("verdi", "daemon", "start", "2")
        in_aiida(site, 4, -1, options.width)  # imports
        for turn in range(options.rounds):
            ours = in_aiida(site, options.n, turn, options.width)
            stock = in_stock(site, ours["jobs"], options.width)
            shell = in_shell(site, ours["folders"])
            figures = {
                "label_wall_s": ours["seconds"], "stock_wall_s": stock["seconds"], "shell_wall_s": shell,
                "label_above_wall_s": ours["seconds"] - shell, "stock_above_wall_s": stock["seconds"] - shell,
                "label_cpu_s": ours["cpu"], "stock_cpu_s": stock["cpu"],
            }  # fmt: skip
            rounds.append({key: round(value / options.n, 2) for key, value in figures.items()})
            if ours["cached"]:
                raise SystemExit(f"{ours['cached']} labels came from the cache")
            print(json.dumps(rounds[-1]), flush=True)
    finally:
        subprocess.run(["verdi", "daemon", "stop", "--timeout", "60"], env=site.environment, check=False)
        shutil.rmtree(site.folder, ignore_errors=True)
    command = f"python benchmarks/label_overhead.py --rounds {options.rounds} -n {options.n} --width {options.width}"
    middle = {key: round(statistics.median(each[key] for each in rounds), 3) for key in rounds[0]}
    found = {"command": command, "per_label": middle, "rounds": rounds}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(*table(found), sep="\n")


if __name__ == "__main__":
    main()
