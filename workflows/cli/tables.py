"""The campaign summary as tables for people."""

from __future__ import annotations

import itertools
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...provenance_db.accounts import COLUMNS as LABEL_COLUMNS
from ...provenance_db.accounts import adding_up, label_account

COLUMNS = (
    "",
    "pk",
    "state",
    "ok",
    "resc",
    "lost",
    "frames",
    "F before",
    "F after",
    "E before",
    "E after",
    "σ 50%",
    "σ 95%",
    "time",
)
CAPTION = (
    "ok, resc, lost: labels good at once, good after a remedy, lost; frames: dataset; F, E: RMSE of forces (meV/Å) and "
    "energy (meV/atom) on the fresh labels, before and after training on them; σ: committee force deviation per atom "
    "(eV/Å) before labelling"
)


def print_status(summary: dict[str, Any], labels: bool = False) -> None:
    """Print all that is known of a campaign, wide enough to be read in a file too; `labels`: with their tables."""
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=120)
    console.print(status_view(summary))
    if labels:
        newest = {each["number"]: each["labels"] for each in summary["iterations"] if each["labels"]}
        for table in label_tables(label_account(newest.values())):
            console.print(table)


def status_view(summary: dict[str, Any]) -> RenderableType:
    """Headline, a row per iteration, and below it losses, exploration and times."""
    parts: list[RenderableType] = [Text(line) for line in (headline(summary), *history(summary), *budget(summary))]
    parts += [iteration_table(summary["iterations"]), *(Text(line) for line in details(summary["iterations"]))]
    return Group(*parts)


def headline(summary: dict[str, Any]) -> str:
    """One line: which campaign, how it stands, since when."""
    state = summary["state"]
    if summary["exit_status"]:
        state = f"{state} [{summary['exit_status']}] {summary['exit_message']}"
    elif summary["exit_status"] == 0:
        state = "finished well"
    name = f" '{summary['label']}'" if summary["label"] else ""
    return f"campaign {summary['pk']}{name}, seed {summary['seed']}: {state}, {duration(summary['seconds'])}"


def history(summary: dict[str, Any]) -> list[str]:
    """A line per campaign that the newest one continues: how it ended, and what was changed after it."""
    lines = []
    for before, after in itertools.pairwise(summary["parts"]):
        changes = "; ".join(f"{key}: {old} -> {new}" for key, (old, new) in after["changes"].items())
        ended = f"{before['state']} [{before['exit_status']}]" if before["exit_status"] is not None else before["state"]
        lines.append(f"goes on from campaign {before['pk']}, which was {ended}; changed: {changes or 'nothing'}")
    return lines


def budget(summary: dict[str, Any]) -> list[str]:
    """One line with what is spent of what is allowed, if anything is limited."""
    allowed, spent = summary.get("budget", {}), summary.get("spent", {})
    limits = [
        f"{key.replace('_', ' ')} {spent[key]:g} of {allowed[key]:g}"
        for key in ("labels", "core_hours", "wall_hours", "lost_share")
        if allowed.get(key) is not None and key in spent
    ]
    return [f"budget: {', '.join(limits)}"] if limits else []


def iteration_table(iterations: list[dict[str, Any]]) -> Table:
    """Labels, dataset, errors on fresh labels before and after training, deviation of the predictions made before."""
    table = Table(
        caption=CAPTION, caption_justify="left", caption_style="", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0)
    )
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for iteration in iterations:
        number = iteration["number"]
        errors = iteration.get("errors", {})
        quantiles = errors.get("deviation", {}).get("deviation_quantiles", {})
        table.add_row(
            "seed" if number == 0 else str(number),
            str(iteration["pk"]),
            _state(iteration),
            *_labels(iteration["labels"]),
            str(iteration["dataset"]["n_frames"]) if "dataset" in iteration else "",
            _error(errors, "before", "forces_rmse_meV_per_A"),
            _error(errors, "after", "forces_rmse_meV_per_A"),
            _error(errors, "before", "energy_rmse_meV_per_atom"),
            _error(errors, "after", "energy_rmse_meV_per_atom"),
            f"{quantiles['0.5']:.2f}" if quantiles else "",
            f"{quantiles['0.95']:.2f}" if quantiles else "",
            duration(iteration["seconds"]["total"]),
        )
    return table


def label_tables(account: dict[str, Any]) -> list[Table]:
    """Labels by source and by element: what became of them, and why some were lost."""
    tables = []
    for name in ("source", "element"):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(name)
        for column in LABEL_COLUMNS:
            table.add_column(column, justify="right")
        table.add_column("reasons")
        for key, row in account[f"{name}s"].items():
            why = Text(counts(row["reasons"]) if row["reasons"] else "")
            table.add_row(Text(key), *(str(row[column]) for column in LABEL_COLUMNS), why)
        tables.append(table)
    return tables


def details(iterations: list[dict[str, Any]]) -> list[str]:
    """Lines on lost labels, exploration, selection and times, where there is something to say."""
    lines = []
    for iteration in iterations:
        number, labels = iteration["number"], iteration["labels"] or {}
        if "ok" in labels:
            rungs = labels.get("rescued", {})
            added = adding_up(labels["submitted"], labels["ok"], sum(rungs.values()), len(labels["lost"]))
            lines.append(f"iteration {number}: labels: {added}{f'; rescued: {counts(rungs)}' if rungs else ''}")
        for loss in labels.get("lost", []):
            lines.append(
                f"iteration {number}: lost {loss['formula']} ({loss['source']}): {loss['reason']}: {loss['message']}"
            )
        made = iteration.get("generated", {"asked": 0, "made": 0})
        if made["made"] < made["asked"]:
            lines.append(f"iteration {number}: {made['made']} of {made['asked']} configurations could be generated")
        if "stop_reasons" in iteration:
            lines.append(f"iteration {number}: trajectories: {counts(iteration['stop_reasons'])}")
        if "selection" in iteration:
            verdicts, arms = iteration["selection"].get("counts", {}), iteration["selection"].get("arms", {})
            lines.append(f"iteration {number}: verdicts: {counts(verdicts)}; chosen: {counts(arms)}")
        if lost := iteration.get("members_trained", {}).get("lost"):
            lines.append(f"iteration {number}: {lost} committee members lost in training")
        stages = {stage: s for stage, s in iteration["seconds"].items() if stage != "total"}
        lines.append(
            f"iteration {number}: times: " + ", ".join(f"{stage} {duration(s)}" for stage, s in stages.items())
        )
    return lines


def counts(table: dict[str, int]) -> str:
    """'a 3, b 1'."""
    return ", ".join(f"{name} {count}" for name, count in table.items()) or "none"


def duration(seconds: float) -> str:
    """'75 s' below two minutes, 'm:ss' min or 'h:mm' h above."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02d} h"


def _state(iteration: dict[str, Any]) -> str:
    if iteration["state"] == "finished":
        return "ok" if iteration["exit_status"] == 0 else f"[{iteration['exit_status']}]"
    return f"{iteration['stage']}" if iteration["stage"] != "done" else str(iteration["state"])


def _labels(labels: dict[str, Any] | None) -> tuple[str, str, str]:
    if labels is None:
        return "", "", ""
    if "ok" in labels:
        rescued = sum(labels.get("rescued", {}).values())
        return str(labels["ok"]), str(rescued), str(len(labels["lost"]))
    return f"{labels['ended']}/{labels['submitted']} ended", "", ""


def _error(errors: dict[str, Any], when: str, key: str) -> str:
    return f"{errors[when][key]:.0f}" if when in errors else ""
