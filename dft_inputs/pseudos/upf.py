"""A UPF file as text: what pw.x can read, what stays the same from day to day, and what its header claims.

`ld1.x` 6.7 writes lines longer than the 1024 characters that the XML reader of its sibling pw.x 6.7 accepts ("line too
long"), and it writes the date. Both are put right here, so that a recipe gives the same bytes on every day.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from .ld1 import PseudoError
from .recipes import Recipe

NUMBERS_PER_LINE = 4
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[EeDd][-+]?\d+)?$")


@dataclass(frozen=True)
class Header:
    """The part of a UPF header that the project relies on."""

    element: str
    valence: float
    """Electrons of the neutral pseudo-atom."""
    total_energy: float
    """Ry, of the spherical, not spin-polarised pseudo-atom: what pw.x prints after '!' for that atom (see atom.py)."""
    wavefunction_cutoff: float
    """Ry, the minimum that ld1.x suggests."""
    density_cutoff: float
    """Ry, the minimum that ld1.x suggests."""
    kind: str
    """PAW, US or NC."""
    recipe_hash: str
    """Recipe it was built from, '' for a file of other origin."""


def normalise(text: str) -> str:
    """UPF text with at most four numbers per line in long lines and without the date of its making."""
    text = re.sub(r'(\bdate=")[^"]*"', r'\1"', text)
    text = re.sub(r"^\s*Generation date:.*\n", "", text, flags=re.MULTILINE)
    return "".join(_wrapped(line) for line in text.splitlines())


def _wrapped(line: str) -> str:
    words = line.split()
    if len(words) <= NUMBERS_PER_LINE or len(line) < 100 or not all(_NUMBER.match(word) for word in words):
        return line.rstrip() + "\n"
    rows = (words[k : k + NUMBERS_PER_LINE] for k in range(0, len(words), NUMBERS_PER_LINE))
    return "".join("   " + "   ".join(row) + "\n" for row in rows)


def header(text: str) -> Header:
    """Read the header of a UPF 2 text; raises PseudoError where it is not complete."""
    match = re.search(r"<PP_HEADER\b(.*?)/>", text, re.DOTALL)
    if match is None or "</UPF>" not in text:
        raise PseudoError("not a complete UPF 2 file: PP_HEADER or the closing tag is missing")
    fields = {key: value.strip() for key, value in re.findall(r'(\w+)\s*=\s*"([^"]*)"', match[1])}
    recipe = re.search(r"argonaut recipe ([0-9a-f]{8})", fields.get("author", ""))
    try:
        return Header(
            element=fields["element"],
            valence=float(fields["z_valence"]),
            total_energy=float(fields["total_psenergy"]),
            wavefunction_cutoff=float(fields["wfc_cutoff"]),
            density_cutoff=float(fields["rho_cutoff"]),
            kind=fields["pseudo_type"],
            recipe_hash=recipe[1] if recipe else "",
        )
    except (KeyError, ValueError) as error:
        raise PseudoError(f"UPF header without a usable {error}") from error


def check_upf(text: str, recipe: Recipe) -> Header:
    """The header of a UPF text that is what the recipe asked for; raises PseudoError."""
    found = header(text)
    expected = {"element": recipe.element, "valence": recipe.valence, "kind": "PAW", "recipe_hash": recipe.hash}
    wrong = {key: getattr(found, key) for key, value in expected.items() if getattr(found, key) != value}
    if wrong:
        raise PseudoError(f"{recipe.element}: UPF header says {wrong}, expected { ({k: expected[k] for k in wrong}) }")
    if not found.total_energy < 0:
        raise PseudoError(f"{recipe.element}: total_psenergy {found.total_energy} Ry in the UPF header is not negative")
    longest = max(map(len, text.splitlines()))
    if longest > 1000:
        raise PseudoError(
            f"{recipe.element}: a line of {longest} characters is too long for the XML reader of pw.x 6.7"
        )
    return found


def md5(path: Path) -> str:
    """md5 of a file, the identity that aiida-pseudo gives to a pseudopotential."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def is_cut_off(text: str) -> bool:
    """Whether a UPF file of version 2 lacks its end, as after a copy that was interrupted."""
    return "<UPF" in text and "</UPF>" not in text[-200:]
