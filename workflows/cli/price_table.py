"""The price of a campaign as a table for people: a row per stage, the sum, and where every number comes from."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .tables import duration

COLUMNS = ("stage", "jobs", "labels", "core-hours", "GPU-hours", "wall time", "repository", "scratch")
UNITS = {1: "kB", 2: "MB", 3: "GB"}


def print_price(name: str, price: dict[str, Any]) -> None:
    """Print the price of the campaign file `name`."""
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=120)
    labels = price["labels_per_iteration"]
    console.print(
        f"{name}: a first iteration of {labels[0]} labels"
        + (f", then {len(labels) - 1} of {labels[-1]}." if labels[1:] else ".")
    )
    console.print("Nothing was submitted. In brackets: low and high; docs/prices.md says how.", highlight=False)
    console.print(price_table(price))
    for line in price_lines(price):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def price_table(price: dict[str, Any]) -> Table:
    """A row per stage, and the totals."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "stage" else "right")
    for row in [*price["stages"], price["totals"]]:
        if row["stage"] == "total":
            table.add_section()
        table.add_row(
            row["stage"], str(row["jobs"]), str(row["labels"] or ""), hours(row["core_hours"]),
            f"{row['gpu_hours']:.2g}", duration_range(row["wall_hours"]), size(row["repository_bytes"]),
            size(row["scratch_bytes"]),
        )  # fmt: skip
    return table


def price_lines(price: dict[str, Any]) -> list[str]:
    """Expected losses, limits, and the source of each number."""
    lost = price["expected_lost"]
    counts = "" if lost["expected"] is None else f"{lost['expected']:g} expected, hardly more than {lost['high']:g}: "
    lines = [
        f"lost labels: {counts}{lost['source']}",
        *(f"budget: {line}" for line in price["budget"]),
        *(f"{row['stage']}: {row['source']}" for row in price["stages"]),
        *price["notes"],
    ]
    if not price["totals"]["gpu_hours"]:
        lines.append("GPU-hours are 0: the options of no stage ask for a GPU.")
    else:
        lines.append("GPU-hours count one GPU per job of the stages whose options name one.")
    return lines


def hours(value: dict[str, float]) -> str:
    """Expected and range, of as many digits as they are worth."""
    return f"{_short(value['expected'])} ({_short(value['low'])}-{_short(value['high'])})"


def duration_range(value: dict[str, float]) -> str:
    """The same as times."""
    low, expected, high = (duration(3600 * value[key]) for key in ("low", "expected", "high"))
    return f"{expected} ({low} - {high})"


def size(value: float) -> str:
    """Bytes, with a decimal unit."""
    power = 1 if value < 1e6 else 2 if value < 1e9 else 3
    short = value / 1000**power
    return f"{short:.0f} {UNITS[power]}" if short >= 10 else f"{short:.1f} {UNITS[power]}"


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"
