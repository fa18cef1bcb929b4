"""What AiiDA adds to a label: `argonaut label` against a shell loop over the same pw.x inputs, turn by turn.

    python benchmarks/label_overhead.py --rounds 3 -n 24

Two-atom cells whose pw.x run takes some tenths of a second, in a profile of their own with a daemon of two workers.
Each round makes new cells (nothing comes from the cache), labels them, and then runs pw.x in copies of the folders in
which the jobs ran, two at a time. Wall time is that of the work chain, from creation to end; CPU time is that of
the daemon and all it has waited for: pw.x runs detached from it and does not count. Results:
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
    "cached": sum(job.base.caching.is_created_from_cache for job in jobs),
}))
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
            shell = in_shell(site, ours["folders"])
            rounds.append({
                "aiida_wall_s": round(ours["seconds"] / options.n, 2), "shell_wall_s": round(shell / options.n, 2),
                "above_wall_s": round((ours["seconds"] - shell) / options.n, 2),
                "daemon_cpu_s": round(ours["cpu"] / options.n, 2), "cached": ours["cached"],
            })  # fmt: skip
            print(json.dumps(rounds[-1]), flush=True)
    finally:
        subprocess.run(["verdi", "daemon", "stop", "--timeout", "60"], env=site.environment, check=False)
        shutil.rmtree(site.folder, ignore_errors=True)
    command = f"python benchmarks/label_overhead.py --rounds {options.rounds} -n {options.n} --width {options.width}"
    middle = {key: statistics.median(each[key] for each in rounds) for key in ("above_wall_s", "daemon_cpu_s")}
    RESULTS.write_text(json.dumps({"command": command, "per_label": middle, "rounds": rounds}, indent=1) + "\n")
    print(json.dumps(middle))


if __name__ == "__main__":
    main()
