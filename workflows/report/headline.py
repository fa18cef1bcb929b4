"""The first screen: what campaign this is, how it stands, and the figures one asks for first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.data import chemical_symbols

from ...mlip.fresh import rank_correlation
from . import quality
from .coverage import elements_of
from .decisions import TOO_LATE, told_changes, told_state
from .effort import spent_per_stage
from .losses import account
from .story import ARMS, Story
from .trust import pairs


def told_duration(seconds: float) -> str:
    """'75 s', '12 min', '3 h 05 min', '2 d 4 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def badge(story: Story) -> tuple[str, str]:
    """(kind, words): kind is good, bad or open."""
    summary = story.summary
    if summary["state"] == "finished" and summary["exit_status"] == 0:
        return "good", "finished well"
    ended = summary["state"] in ("finished", *TOO_LATE)
    return ("bad" if ended else "open"), told_state(summary)


def elements(story: Story) -> list[str]:
    """Symbols."""
    return [chemical_symbols[z] for z in elements_of(story)]


def labels_by(settings: Mapping[str, Any]) -> str:
    """What made the labels, with what decides their meaning."""
    label = settings.get("label", {})
    labeller, protocol = label.get("labeller", "unknown"), label.get("protocol") or {}
    if labeller == "quantumespresso":
        request, cutoffs = label.get("request", {}), label.get("cutoffs") or ["?", "?"]
        return (
            f"{protocol.get('code', 'pw.x')}, protocol “{request.get('name', '?')}”: cutoffs {cutoffs[0]:g} and "
            f"{cutoffs[1]:g} Ry, k points every {request.get('kpoints_spacing')} 1/Å, {request.get('smearing')} "
            f"smearing {request.get('degauss')} Ry, spin {request.get('spin')}; pseudopotentials {label.get('family')}"
        )
    if labeller == "ase":
        parameters = ", ".join(f"{key}={value}" for key, value in (label.get("parameters") or {}).items())
        return f"ASE calculator {label.get('calculator')}({parameters})"
    if labeller == "table":
        return "a table of labels, looked up by content"
    return str(labeller)


def lead(story: Story) -> str:
    """The campaign in a few sentences."""
    total, summary = account(story), story.summary
    done = sum(each["state"] == "finished" and each["exit_status"] == 0 for each in story.iterations)
    later = summary["iterations_planned"] - 1
    told = [f"{done} of {summary['iterations_planned']} planned iterations are done (a seed set and {later} more)."]
    if total.submitted:
        told.append(f"Labels: {total.line}.")
    steps = {arm: trend(story, arm) for arm in (*ARMS[::-1], "")}
    words = {"random": "drawn at random", "deviation": "chosen as uncertain", "": "of all fresh labels"}
    parts = [f"on frames {words[arm]} {steps[arm]}" for arm in steps if steps[arm]]
    if parts:
        told.append(f"Force error (RMSE) of predictions made before labelling: {'; '.join(parts)}.")
    return " ".join(told)


def trend(story: Story, arm: str) -> str:
    """'2.7 eV/Å (trained on 14 frames) → 3.9 eV/Å (on 26)'; '' without labels of this arm."""
    found = quality.series(story, arm, "forces")
    if not found:
        return ""
    trained = f"trained on {found[0][0]} frames" if found[0][0] else "the committee it began with"
    first = f"{found[0][1] / 1000:.3g} eV/Å ({trained})"
    return first if len(found) == 1 else f"{first} → {found[-1][1] / 1000:.3g} eV/Å (on {found[-1][0]})"


def ending(story: Story) -> str:
    """What the record says of the end; '' for a campaign that ended well."""
    summary = story.summary
    if story.running:
        return "The campaign is running: this page shows the record at the time given, and will not change by itself."
    if summary["exit_status"] == 0:
        return ""
    return str(summary["exit_message"] or f"The campaign was {summary['state']} and left no message.")


def key_figures(story: Story) -> list[tuple[str, str, str]]:
    """(figure, unit, what it is)."""
    total = account(story)
    figures = []
    if total.submitted:
        rescued = f", {total.rescued} of them rescued" if total.rescued else ""
        told = f"labels are good{rescued}; {total.lost} lost"
        figures.append((str(total.ok + total.rescued), f"of {total.submitted}", told))
    if story.frames:
        figures.append((str(len(story.frames)), "frames", f"labelled, of {sum(map(len, story.frames))} atoms"))
    for arm, words in (("random", "random arm"), ("deviation", "deviation arm"), ("", "fresh labels")):
        rmse, energy = quality.newest(story, arm, "forces"), quality.newest(story, arm, "energy")
        if rmse is not None and energy is not None:
            figures.append((f"{rmse:.0f}", "meV/Å", f"forces: RMSE on the newest {words}, before training"))
            figures.append((f"{energy:.0f}", "meV/atom", f"energy: RMSE on the newest {words}, before training"))
    values = pairs(story.fresh)
    correlation = rank_correlation(values[:, 0], values[:, 1])
    if correlation is not None:
        figures.append(
            (f"{correlation:.2f}".replace("-", "−"), "", "rank correlation of deviation and force error, all atoms")
        )
    hours = sum(spent_per_stage(story).values())
    if hours:
        figures.append(
            (
                f"{hours:.2g}" if hours < 1 else f"{hours:.1f}",
                "core-hours",
                "computed; results from the cache cost nothing",
            )
        )
    figures.append((told_duration(story.summary["seconds"]), "", "wall time" + (", so far" if story.running else "")))
    return figures


def parts_rows(story: Story) -> list[list[str]]:
    """Rows (campaign, uuid, state, message, time, changed settings) of a chain; empty unless it was resumed."""
    if len(story.parts) < 2:
        return []
    return [
        [
            str(part["pk"]),
            str(part["uuid"]),
            told_state(part),
            str(part.get("exit_message") or ""),
            told_duration(part["seconds"]),
            told_changes(part.get("changes") or {}),
        ]
        for part in story.parts
    ]
