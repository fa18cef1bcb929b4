"""Where a self-consistent run of pw.x is heading, from the accuracies that it prints step by step.

In a run that converges the logarithm of the estimated accuracy falls along a line; in one that does not it goes up and
down about a level. Judging by the slope is the idea of aiidateam/aiida-quantumespresso, issue 961; the numbers below
are ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

SETTLING = 25
"""Steps before a run is judged: most labels are done by then."""
LOOK_BACK = 15
"""Steps over which the slope is taken."""
LENIENCE = 2.0
"""Times the steps that are left, that a run may need before it is called hopeless."""
_ACCURACY = re.compile(r"estimated scf accuracy\s*<\s*([-+0-9.EeDd]+)\s*Ry")


def accuracies(stdout: str) -> list[float]:
    """Estimated accuracies in Ry of the last self-consistent run in a pw.x output, a value per step."""
    last = stdout.rsplit("Self-consistent Calculation", 1)[-1]
    values = [float(text.replace("D", "E").replace("d", "e")) for text in _ACCURACY.findall(last)]
    return [value for value in values if value > 0 and math.isfinite(value)]


def slope(values: Sequence[float]) -> float:
    """Decades per step by which the accuracy changes, least squares over the last LOOK_BACK steps; below 0 is good."""
    if len(values) < 2:
        return 0.0
    recent = np.log10(np.asarray(values[-LOOK_BACK:]))
    return float(np.polyfit(np.arange(len(recent)), recent, 1)[0])


def steps_left(values: Sequence[float], threshold: float) -> float:
    """Steps that a run still needs to come to the threshold (Ry) at its slope; infinite where it does not fall."""
    if not values:
        return math.inf
    decades, fall = math.log10(values[-1] / threshold), -slope(values)
    if decades <= 0:
        return 0.0
    return decades / fall if fall > 0 else math.inf


def hopeless(values: Sequence[float], threshold: float, allowed: int) -> bool:
    """Whether a run of at most `allowed` steps will come nowhere near the threshold (Ry)."""
    if len(values) < SETTLING:
        return False
    return steps_left(values, threshold) > LENIENCE * max(allowed - len(values), 1)
