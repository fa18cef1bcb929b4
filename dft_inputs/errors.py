"""One sentence that helps with a misspelt name: what was meant, or what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(given: object, valid: Iterable[str]) -> str:
    """'; did you mean X?' where a valid name is near, else '; valid: A, B, C'."""
    names = sorted(map(str, valid))
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; valid: {', '.join(names)}"
