"""The log of decisions: per iteration, in plain words, what was made, chosen, lost and learnt, and what followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .story import Said, Story, name_of, number_of

ENDS = {
    "completed": "did all steps",
    "uncertain": "stopped because an atom became too uncertain",
    "unphysical_distance": "stopped because atoms came too close",
    "unphysical_force": "stopped by a force too large",
    "unphysical_temperature": "stopped by a temperature too high",
    "nonfinite": "stopped at numbers that are not finite",
}
TOO_LATE = ("killed", "excepted")


@dataclass(frozen=True)
class Decision:
    """One iteration of the log."""

    title: str
    pk: int
    state: str
    good: bool | None
    """None while it is not known."""
    lines: tuple[tuple[str, str], ...]
    """(topic, sentence)."""
    said: tuple[Said, ...] = ()
    """The record's own words."""


def decisions(story: Story) -> list[Decision]:
    """One per iteration, in order."""
    found = []
    for place, each in enumerate(story.iterations):
        pk = int(each["pk"])
        lines = tuple(_lines(story, each, place))
        said = tuple(line for line in story.said if story.family.get(line.process) == pk)
        good = None if each["state"] not in ("finished", *TOO_LATE) else each["exit_status"] == 0
        found.append(Decision(name_of(each, place).capitalize(), pk, told_state(each), good, lines, said))
    return found


def told_state(process: Mapping[str, Any]) -> str:
    """'finished well', 'failed [416]', 'killed', 'running: train'."""
    if process["state"] == "finished":
        return "finished well" if process["exit_status"] == 0 else f"failed [{process['exit_status']}]"
    if process["state"] in TOO_LATE:
        return str(process["state"])
    stage = process.get("stage")
    return f"running: {stage}" if stage else "running"


def _lines(story: Story, each: Mapping[str, Any], place: int) -> Iterator[tuple[str, str]]:
    resumed = resumed_with(story, place)
    if resumed:
        yield "resumed", resumed
    if made := each.get("generated"):
        yield "generated", f"{made['made']} of {made['asked']} random configurations could be made."
    yield from _explored(story, each)
    yield from _labelled(story, each)
    yield from _trained(story, each)
    yield from _errors(each)
    yield "next", what_followed(story, place)


def resumed_with(story: Story, place: int) -> str:
    """What was changed, if a resumed campaign begins with this iteration."""
    each = story.iterations[place]
    if place == 0 or each.get("part") == story.iterations[place - 1].get("part"):
        return ""
    part = next((part for part in story.parts if part["pk"] == each.get("part")), None)
    changes = told_changes(part["changes"]) if part else ""
    return f"Campaign {each.get('part')} goes on from here, with {changes or 'unchanged settings'}."


def told_changes(changes: Mapping[str, Any]) -> str:
    """'stop.iterations 2 → 4'."""
    return "; ".join(f"{key} {old} → {new}" for key, (old, new) in changes.items())


def _explored(story: Story, each: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    more = story.explored.get(int(each["pk"]), {})
    if reasons := each.get("stop_reasons"):
        ends = ", ".join(f"{count} {ENDS.get(reason, reason)}" for reason, count in reasons.items())
        level = more.get("stop_deviation")
        stop = f" Uncertain means a force deviation above {level:.3g} eV/Å." if level is not None else ""
        time = f" over {more['fs'] / 1000:.3g} ps in all" if more.get("fs") else ""
        yield (
            "explored",
            f"{sum(reasons.values())} trajectories{time}: {ends}. {more.get('pool', '?')} frames kept.{stop}",
        )
    if selection := each.get("selection"):
        counts, arms = selection.get("counts", {}), selection.get("arms", {})
        levels = selection.get("thresholds", {})
        if None not in (levels.get("low"), levels.get("high")):
            yield "trust levels", f"{levels['low']:.3g} and {levels['high']:.3g} eV/Å of force deviation."
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        chosen = ", ".join(f"{count} by the {arm} arm" for arm, count in arms.items())
        filled = more.get("filled_below_trust_level")
        rest = f" {filled} of them lie below the trust level: there were too few candidates." if filled else ""
        asked = f" of {more['asked']} asked" if more.get("asked") else ""
        yield "chosen", f"Verdicts: {told}. Chosen{asked}: {chosen}.{rest}"


def _labelled(story: Story, each: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    labels = each.get("labels")
    if labels is None:
        return
    if "ok" not in labels:
        open_ = labels["submitted"] - labels.get("ended", 0)
        yield "labelled", f"{labels.get('ended', 0)} of {labels['submitted']} labels had ended; {open_} had not."
    else:
        reasons = ", ".join(f"{count} {reason}" for reason, count in labels.get("reasons", {}).items())
        lost = f"{len(labels['lost'])} lost ({reasons})" if labels["lost"] else "none lost"
        rungs = ", ".join(f"{count} by {rung}" for rung, count in labels.get("rescued", {}).items())
        rescued = f"{sum(labels['rescued'].values())} rescued ({rungs}), " if rungs else ""
        yield "labelled", f"{labels['submitted']} submitted: {labels['ok']} good, {rescued}{lost}."
    again = story.repeated.get(int(each["pk"]), {})
    tried = ", ".join(f"{again[kind]} {kind}s" for kind in ("shard", "label", "member") if again.get(kind))
    if tried:
        yield "tried again", f"{tried}: an attempt was spoiled by the machine or, for members, failed."


def _trained(story: Story, each: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    members = each.get("members_trained")
    if not members:
        return
    lost, waiting, running = (members.get(key, 0) for key in ("lost", "waiting", "running"))
    rest = ", ".join(f"{count} {word}" for count, word in ((lost, "lost"), (running, "running"), (waiting, "waiting"))
                     if count)  # fmt: skip
    frames = f" on {each['dataset']['n_frames']} frames" if each.get("dataset", {}).get("n_frames") else ""
    total = sum(members.values())
    if each.get("reference"):
        yield "reference energies", f"{each['reference']}."
    yield "trained", f"{members.get('ok', 0)} of {total} committee members{frames}{f'; {rest}' if rest else ''}."


def _errors(each: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    errors = each.get("errors", {})
    words = {"before": "predicted before labelling", "after": "after training on them"}
    told = [
        f"{words[when]}: forces {errors[when]['forces_rmse_meV_per_A']:.0f} meV/Å, energy "
        f"{errors[when]['energy_rmse_meV_per_atom']:.0f} meV/atom"
        for when in words
        if when in errors
    ]
    if told:
        yield "errors", f"RMSE on the {errors['n_frames']} fresh labels, {'; '.join(told)}."


def what_followed(story: Story, place: int) -> str:
    """Why the campaign went on after an iteration, or did not."""
    each, stop = story.iterations[place], story.settings.get("stop", {})
    if each["state"] not in ("finished", *TOO_LATE):
        return "Not decided yet: this iteration is at work."
    if each["exit_status"] != 0 or each["state"] in TOO_LATE:
        why = each.get("exit_message") or f"the iteration was {each['state']}"
        later = (
            " It was taken up again later." if place + 1 < len(story.iterations) else " The campaign could not go on."
        )
        return f"{why}.{later}".replace("..", ".")
    number, planned = number_of(each, place), stop.get("iterations")
    rmse, target = each.get("errors", {}).get("before", {}).get("forces_rmse_meV_per_A"), stop.get("force_rmse")
    met = target is not None and rmse is not None and rmse <= 1000 * target
    goal = f"forces on fresh labels {rmse:.0f} meV/Å, target {1000 * target:.0f}" if target and rmse else ""
    if place + 1 < len(story.iterations) and number == 0:
        return f"Went on: there is a committee now, and at most {planned} iterations are planned."
    if place + 1 < len(story.iterations):
        return f"Went on: {goal or f'{number} of {planned} iterations after the seed set were done'}."
    if met:
        return f"Stopped, good enough: {goal}."
    if story.running:
        return "The campaign is still running."
    if story.summary["exit_status"] == 0:
        return f"Stopped: all {planned} iterations after the seed set were done{f'; {goal}' if goal else ''}."
    return f"Stopped: {story.summary['exit_message'] or 'the campaign was ' + str(story.summary['state'])}"
