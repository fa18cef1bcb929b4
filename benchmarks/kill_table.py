"""Kill table: a campaign with the `ase` labeller, parts of which are killed with SIGKILL at seeded moments.

    python benchmarks/kill_table.py --trials 15 --seed 1 -o benchmarks/results/kill_table.json

Each trial launches the same campaign, waits for a moment drawn from the seed, kills its target, and then does what the
README says: `verdi daemon start` where no daemon is left; `argonaut repair` where nothing has moved for a minute;
`argonaut resume` where the campaign has ended without success. It passes if the campaign then ends well, every label
asked for is a label or a named loss, and configurations, labels and datasets have the content hashes of an undisturbed
run. Nothing is taken from the cache of another trial. Run again, it goes on with the trials that are missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

BIN = Path(sys.executable).parent
TARGETS = ("job", "worker", "broker", "daemon", "everything")
"""What is killed: a compute job; all daemon workers; the broker; the daemon's supervisor; all of these at once."""
STALLED = 60.0
"""s without any change after which a person would look for what is wrong."""
CAMPAIGN = {
    "seed": 11,
    "generate": {
        "recipe": {
            "source": "packing", "elements": ["H", "He", "Li", "Be"], "atoms": [2, 3],
            "minimum_distance_ratio": [0.9, 1.0],
        },
        "seed_set": 6,
        "starts": 4,
    },
    "label": {"labeller": "ase", "parameters": {"sigma": 0.6, "epsilon": 0.1, "rc": 4.0}, "shard_size": 2},
    "train": {"members": 2, "steps": 15, "records": 3},
    "explore": {"dataset_starts": 2, "steps": 10, "min_steps": 5, "sample_interval": 5},
    "select": {"count": 3, "random_fraction": 0.34},
    "stop": {"iterations": 1},
}  # fmt: skip
FACTS = """
import json, sys
from aiida import load_profile
load_profile()
from aiida_argonaut.provenance_db.queries import iterations, load_campaign
found = []
for node in iterations(load_campaign(sys.argv[1])):
    if node.is_finished_ok:
        losses = node.outputs.losses
        found.append({
            "configurations": [c.configuration_id for c in node.outputs.candidates.configurations()],
            "labels": sorted(f.label_id for f in node.outputs.labels.dataset().frames),
            "dataset": node.outputs.dataset.content_hash,
            "accounted": losses["submitted"] == losses["ok"] + len(losses.get("rescued", [])) + len(losses["lost"]),
        })
print(json.dumps(found))
"""
BAR_FROM_CACHE = """
from aiida import load_profile, orm
load_profile()
for node in orm.QueryBuilder().append(orm.CalcJobNode).all(flat=True):
    node.base.caching.is_valid_cache = False
"""


class Site:
    """A folder with an AiiDA profile of its own and a daemon, and ways to hurt it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(BIN), os.environ["PATH"]])
        self.environment = {**os.environ, "AIIDA_PATH": str(folder), "PATH": path, "OMP_NUM_THREADS": "1"}

    def run(self, *command: object, fails: bool = False) -> str:
        """Run a command; what it said. RuntimeError if it fails and may not."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode != 0 and not fails:
            raise RuntimeError(
                f"`{' '.join(words)}` ended {done.returncode}: {done.stdout[-800:]} {done.stderr[-800:]}"
            )
        return done.stdout

    def status(self, pk: int) -> dict[str, Any]:
        """What `argonaut status --json` says."""
        summary: dict[str, Any] = json.loads(self.run("argonaut", "status", pk, "--json", fails=True))
        return summary

    def processes(self, target: str) -> list[psutil.Process]:
        """The processes of this site that a target stands for."""
        found: dict[str, list[psutil.Process]] = {"job": [], "worker": [], "broker": [], "daemon": []}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if self.is_job(process):
                    found["job"].append(process)
                elif not process.environ().get("AIIDA_PATH", "").startswith(str(self.folder)):
                    continue
                elif "daemon worker" in line:
                    found["worker"].append(process)
                elif "broker" in line:
                    found["broker"].append(process)
                elif "start-circus" in line:
                    found["daemon"].append(process)
        return [each for some in found.values() for each in some] if target == "everything" else found[target]

    def is_job(self, process: psutil.Process) -> bool:
        """Whether a process is the command of a compute job."""
        inside = process.cwd().startswith(str(self.folder / ".aiida" / "scratch"))
        return inside and "argonaut" in " ".join(process.cmdline()) and process.name() != "bash"


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """A deployment made by the commands a user types; its processes are ended at the end."""
    made = Site(Path(tempfile.mkdtemp(prefix="argonaut-kills-")))
    try:
        made.run("argonaut", "setup")
        made.run("verdi", "daemon", "start", "2")
        (made.folder / "campaign.yaml").write_text(yaml.safe_dump(CAMPAIGN))
        yield made
    finally:
        made.run("verdi", "daemon", "stop", fails=True)
        for process in made.processes("everything"):
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(made.folder, ignore_errors=True)


def launch(where: Site) -> int:
    """Launch the campaign with nothing to take from the cache; its pk."""
    where.run("python", "-c", BAR_FROM_CACHE)
    found = re.match(r"campaign (\d+)", where.run("argonaut", "launch", "campaign.yaml"))
    if found is None:
        raise RuntimeError("launch told no pk")
    return int(found[1])


def to_the_end(where: Site, pk: int) -> tuple[int, list[str]]:
    """Bring a campaign to a good end by what a user is told to do; (pk of its last part, remedies that it took)."""
    remedies: list[str] = []
    if not where.processes("daemon"):
        remedies.append("daemon start")
        where.run("verdi", "daemon", "start", "2")
    last, since = "", time.monotonic()
    while len(remedies) < 6:
        summary = where.status(pk)
        if summary["state"] in ("finished", "excepted", "killed"):
            if summary["exit_status"] == 0:
                return pk, remedies
            remedies.append("resume")
            said = where.run("argonaut", "resume", pk)
            pk = int(re.findall(r"campaign (\d+) goes on", said)[0])
        seen = where.run("verdi", "process", "list", "-a", "-P", "pk", "state", "--raw")
        if seen != last:
            last, since = seen, time.monotonic()
        elif time.monotonic() - since > STALLED:
            remedies.append("repair")
            where.run("argonaut", "repair", pk)
            since = time.monotonic()
        time.sleep(4.0)  # two commands for every look take seconds of a core
    raise RuntimeError(f"campaign {pk} does not come to a good end: {remedies}")


def trial(where: Site, number: int, seed: int, duration: float, truth: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table."""
    draw = random.Random(f"{seed}:{number}")
    target, moment = TARGETS[number % len(TARGETS)], draw.uniform(1.0, 0.8 * duration)
    pk, began = launch(where), time.monotonic()
    time.sleep(moment)
    while not (victims := where.processes(target)):  # between two jobs there is none to kill
        if time.monotonic() - began > 2 * duration:  # after the last one there is none at all: earlier, then
            pk, began, moment = launch(where), time.monotonic(), moment / 2
            time.sleep(moment)
        time.sleep(0.02)
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    killed_after = time.monotonic() - began
    newest = (where.status(pk)["iterations"] or [{"number": 0, "stage": "start"}])[-1]
    last, remedies = to_the_end(where, pk)
    facts = json.loads(where.run("python", "-c", FACTS, last))
    return {
        "trial": number,
        "target": target,
        "killed": len(victims),
        "after_s": round(killed_after, 1),
        "iteration": newest["number"],
        "stage": newest["stage"],
        "remedies": remedies,
        "seconds": round(time.monotonic() - began, 1),
        "labels_accounted_for": all(fact["accounted"] for fact in facts),
        "same_content": facts == truth,
    }


def table(trials: int, seed: int, output: Path) -> list[dict[str, Any]]:
    """Run the trials that are missing in `output`; all rows."""
    rows: list[dict[str, Any]] = json.loads(output.read_text())["trials"] if output.exists() else []
    missing = sorted(set(range(trials)) - {row["trial"] for row in rows})
    if not missing:
        return rows
    with site() as where:
        began = time.monotonic()
        last, remedies = to_the_end(where, launch(where))
        duration = time.monotonic() - began
        truth = json.loads(where.run("python", "-c", FACTS, last))
        if remedies or len(truth) != CAMPAIGN["stop"]["iterations"] + 1:  # type: ignore[index]
            raise RuntimeError(f"the undisturbed campaign did not end well: {remedies}")
        for number in missing:
            rows.append(trial(where, number, seed, duration, truth))
            print(json.dumps(rows[-1]), flush=True)
            command = f"python benchmarks/kill_table.py --trials {trials} --seed {seed}"
            document = {"command": command, "seed": seed, "undisturbed_s": round(duration, 1), "trials": rows}
            output.write_text(json.dumps(document, indent=1) + "\n")
    return rows


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """The table of docs/faults.md."""
    head = ["| killed (processes) | after, s | in iteration: stage | it took | labels accounted for | same content |"]
    cells = [
        (f"{row['target']} ({row['killed']})", row["after_s"], f"{row['iteration']}: {row['stage']}",
         ", ".join(row["remedies"]) or "nothing", _yes(row["labels_accounted_for"]), _yes(row["same_content"]))
        for row in sorted(rows, key=lambda row: TARGETS.index(row["target"]))
    ]  # fmt: skip
    return [*head, "|---|---|---|---|---|---|", *(f"| {' | '.join(map(str, row))} |" for row in cells)]


def _yes(told: bool) -> str:
    return "yes" if told else "**no**"


def main() -> None:
    """Read the command line; exit 1 if a trial failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "kill_table.json")
    given = parser.parse_args()
    rows = table(given.trials, given.seed, given.output)
    print("\n".join(lines(rows)))
    good = sum(row["labels_accounted_for"] and row["same_content"] for row in rows)
    print(f"{good} of {len(rows)} trials ended with every label accounted for and the content of an undisturbed run")
    sys.exit(0 if good == len(rows) else 1)


if __name__ == "__main__":
    main()
