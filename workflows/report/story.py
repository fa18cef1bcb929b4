"""What a report tells, as plain data: nothing behind it knows AiiDA, so that pages are made and tested alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ...mlip.frames import LabelledFrame
from ...mlip.predictions import Prediction
from ..reference_atoms import SAME_PROTOCOL

ARMS = ("deviation", "random")
"""Why a frame was chosen (mlip.select): the committee was unsure of it, or it was drawn at random."""


@dataclass(frozen=True)
class Fresh:
    """The fresh labels of one iteration beside what the committee had said of them before."""

    number: int
    """Of the iteration."""
    trained_on: int
    """Frames that the predicting committee had been trained on; 0 where it was brought without them."""
    labels: tuple[LabelledFrame, ...]
    """Those with a prediction."""
    predictions: Mapping[str, Prediction]
    """By configuration_id."""
    arms: Mapping[str, str] = field(default_factory=dict)
    """By configuration_id: one of ARMS; '' where nothing chose."""

    def of(self, arm: str) -> list[LabelledFrame]:
        """The labels of one arm."""
        return [label for label in self.labels if self.arms.get(label.configuration.configuration_id, "") == arm]


@dataclass(frozen=True)
class Said:
    """A line that a process wrote into the record."""

    time: datetime
    level: str
    process: int
    """pk."""
    message: str


@dataclass(frozen=True)
class Story:
    """All of a campaign that its report needs."""

    summary: Mapping[str, Any]
    """As provenance_db.queries.campaign_summary gives it, with `spent` as provenance_db.spending.spent does."""
    settings: Mapping[str, Any]
    """The campaign's settings."""
    moment: datetime
    """When the record was read."""
    began: datetime
    frames: Sequence[LabelledFrame] = ()
    """All labelled frames, in the order in which they came."""
    fresh: Sequence[Fresh] = ()
    """Iterations with labels that had been predicted, in order."""
    references: Mapping[int, float] | None = None
    """eV by atomic number: energies of the atoms that the campaign took off; None if it fitted them."""
    jobs: Sequence[Any] | None = None
    """provenance_db.spending.Job of all calculation jobs; None if they could not be read."""
    said: Sequence[Said] = ()
    """In the order of time."""
    family: Mapping[int, int] = field(default_factory=dict)
    """pk of a process below an iteration -> pk of the iteration."""
    repeated: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """pk of an iteration -> how often which kind of work (shard, label, member) was tried again."""
    explored: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """pk of an iteration -> figures of its exploration and selection beyond the summary's."""
    provenance: Sequence[tuple[str, str]] = ()
    """(what, value) for the foot of the page."""
    profile: str = ""

    @property
    def iterations(self) -> list[Mapping[str, Any]]:
        """Of the summary."""
        return list(self.summary["iterations"])

    @property
    def parts(self) -> list[Mapping[str, Any]]:
        """Campaigns of the chain, oldest first; one unless the campaign was resumed."""
        own = {key: self.summary.get(key) for key in ("pk", "uuid", "state", "exit_status", "exit_message", "seconds")}
        return list(self.summary.get("parts") or [{**own, "changes": {}}])

    @property
    def zero(self) -> str:
        """Whose energies the energies of labels are counted from."""
        if self.references is None:
            return "atoms as they were fitted to all labels of the campaign by least squares"
        told = next((each["reference"] for each in reversed(self.iterations) if each.get("reference")), "")
        return "isolated " + told if told == SAME_PROTOCOL else "atoms as the pseudopotentials have them"

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self.summary["state"] not in ("finished", "killed", "excepted")


def number_of(iteration: Mapping[str, Any], position: int) -> int:
    """The number of an iteration; two attempts at one have the same."""
    return int(iteration.get("number", position) or 0)


def name_of(iteration: Mapping[str, Any], position: int) -> str:
    """'seed set', 'iteration 3'."""
    number = number_of(iteration, position)
    return f"iteration {number}" if number else "seed set"


def why_no_predictions(story: Story) -> str:
    """One sentence on why there are no fresh labels with predictions made before."""
    rest = "Predictions made before labelling come with iteration 1."
    if not story.iterations:
        return f"No iteration has begun. {rest}"
    later = [each for place, each in enumerate(story.iterations) if number_of(each, place) > 0]
    if not later:
        return f"Only the seed set has been begun, for which there is no committee to predict it. {rest}"
    labels = later[-1].get("labels")
    if labels and "ok" in labels and labels["submitted"] == len(labels["lost"]):
        return f"All {labels['submitted']} labels of the latest iteration were lost: nothing can be compared."
    stage = later[-1].get("stage", "done")
    where = "ended" if stage == "done" else f"is at the stage “{stage}”"
    return f"No label with a prediction is in the record: the latest iteration {where} before any was done."
