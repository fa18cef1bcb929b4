"""What a check is, and what came out of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .subject import Subject

HELD, EXCEPTION, FAILED = "held", "exception", "failed"


@dataclass(frozen=True)
class Check:
    """One demand: a violation is measured, and must not exceed the tolerance."""

    name: str
    text: str
    """What is demanded, in one line."""
    unit: str
    tolerance: float
    measure: Callable[[Subject], float]
    """The largest violation found; infinite or NaN where what is demanded does not exist."""


@dataclass(frozen=True)
class Outcome:
    """What came out of one check."""

    name: str
    status: str
    """'held', 'exception' (violated, as the architecture says of this preset) or 'failed'."""
    value: float | None
    """The largest violation, None where it is not a finite number."""
    tolerance: float
    unit: str
    text: str
    """What is demanded; for an exception why it cannot be held; for a failure what is wrong."""

    def __str__(self) -> str:
        value = "-" if self.value is None else f"{self.value:.1e}"
        return f"{self.status:9s} {self.name:15s} {value:>8s} <= {self.tolerance:.0e} {self.unit:13s} {self.text}"


def judge(check: Check, subject: Subject, reason: str | None) -> Outcome:
    """Run one check; `reason` is what the architecture says if it cannot hold it, else None."""
    problem = ""
    try:
        value = float(check.measure(subject))
    except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        value, problem = math.nan, f"; {type(error).__name__}: {' '.join(str(error).split())}"
    holds = value <= check.tolerance
    number = value if math.isfinite(value) else None
    if holds:
        status, text = HELD, check.text + (f" (held, though given as an exception: {reason})" if reason else "")
    elif reason is not None and not problem:
        status, text = EXCEPTION, reason
    else:
        status, text = FAILED, check.text + problem
    return Outcome(check.name, status, number, check.tolerance, check.unit, text)
