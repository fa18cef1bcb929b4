"""The contract that every architecture and preset has to hold, as checks that anyone can run on a model of their own.

`check(architecture, preset)` gives one `Outcome` per check; docs/contract.md says what each of them means.
"""

from .outcome import Check, Outcome
from .suite import CHECKS, check, failed

__all__ = ["CHECKS", "Check", "Outcome", "check", "failed"]
