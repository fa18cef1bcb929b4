"""Crystals with one scalar each, read from the files that databases hand out: what PotNet's `published` preset learns.

PotNet: Lin et al., arXiv 2306.10045. The form of a file is known by its content; it may be gzipped, or be in a zip:

- JARVIS-DFT: a JSON list of {"jid": ..., "atoms": {"lattice_mat", "coords", "elements", "cartesian"}, key: value}
- Materials Project: a JSON list of {"material_id": ..., "structure": CIF text or pymatgen's dict, key: value}
- matminer and Matbench: a JSON table {"index", "columns", "data"} with a column "structure"
- any of these entries as JSON lines, one per line
- CGCNN: a folder with id_prop.csv (lines 'id,value') and a CIF file <id>.cif per line
- extended XYZ: a number per frame in its comment line, or an energy

Elements are H-Ar; entries with others are left out and counted. An exact duplicate, of configuration and value, is left
out too. The same configuration with another value is kept: databases hold several calculations of one crystal, and
which of them is right cannot be seen here.
"""

from __future__ import annotations

import difflib
import math
import re
import reprlib
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from .extxyz import FARTHEST, beyond_sense
from .frames import Configuration, Origin
from .property_files import STRUCTURES, Entry, PropertyError, is_missing, read_entries
from .units import Z_MAX

__all__ = ["PropertyData", "PropertyEntry", "PropertyError", "Target", "read_property_data"]

BEYOND = "elements beyond Ar"
_ABSENT = object()
_FORMULA = re.compile(r"^_chemical_formula_sum\s+('[^'\n]*'|\"[^\"\n]*\"|\S+)", re.MULTILINE)
_NUMBERS: Mapping[str, int] = {**atomic_numbers, "D": 1, "T": 1}


@dataclass(frozen=True)
class Target:
    """Which scalar of the files is learned, and how."""

    name: str
    """Key in the files; dots go into nested mappings: bulk_modulus.vrh."""
    unit: str = ""
    """Unit of the values in the files, for tables and figures; nothing is converted."""
    extensive: bool = False
    """The value is one of the whole structure and grows with it: divided by the number of atoms for learning."""
    log10: bool = False
    """Learn the logarithm, as is usual for moduli: values that are not positive are left out and counted."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not all(part.strip() for part in self.name.split(".")):
            raise PropertyError(f"target name {self.name!r}: expected a key of the files, such as band_gap")
        if not isinstance(self.unit, str):
            raise PropertyError(f"target unit {self.unit!r}: expected text, such as eV/atom")
        for key in ("extensive", "log10"):
            if not isinstance(getattr(self, key), bool):
                raise PropertyError(f"target {key} {getattr(self, key)!r}: expected true or false")


class PropertyEntry(NamedTuple):
    """A configuration and its value."""

    configuration: Configuration
    value: float
    """As learned: per atom if the target is extensive, then its logarithm if so asked."""
    name: str
    """Identifier in the database, or file#index where there is none."""


@dataclass(frozen=True, eq=False)
class PropertyData:
    """What was read."""

    entries: tuple[PropertyEntry, ...]
    left_out: dict[str, int]
    """Reason -> count; with the entries they add up to what the files hold."""
    files: tuple[Path, ...]


def read_property_data(paths: Sequence[Path], target: Target) -> PropertyData:
    """All entries of files and folders that have a value of the target, in order.

    Raises PropertyError for a file that cannot be read or is of no known form, a key that no entry has, a value that is
    no finite number, a structure that is none, and where nothing is left.
    """
    found: dict[tuple[str, float], PropertyEntry] = {}
    left_out: Counter[str] = Counter()
    keys: set[str] = set()
    occurs = False
    for entry in (each for path in paths for each in read_entries(Path(path), target.name)):
        given = _looked_up(entry.values, target.name)
        occurs = occurs or given is not _ABSENT
        if not occurs and len(keys) < 1000:
            keys.update(_keys(entry.values))
        try:
            learned = _learned(entry, given, target)
        except (ValueError, TypeError, OverflowError) as error:  # a FrameError, or numbers that are none
            raise PropertyError(f"{entry.place}: {' '.join(str(error).split())}") from error
        if isinstance(learned, str):
            left_out[learned] += 1
            continue
        first = found.setdefault((learned.configuration.configuration_id, learned.value), learned)
        left_out["duplicate"] += first is not learned
    names = ", ".join(map(str, paths))
    if not occurs and left_out:
        raise PropertyError(f"{names}: no entry has the key {target.name!r}; {_nearest(target.name, keys)}")
    if not found:
        raise PropertyError(f"{names}: no entries to learn from{_counted(left_out)}")
    return PropertyData(tuple(found.values()), dict(sorted((+left_out).items())), tuple(map(Path, paths)))


def _learned(entry: Entry, given: Any, target: Target) -> PropertyEntry | str:
    """The entry, or the reason why it is left out."""
    value = _number(given, target.name)
    if value is None:
        return "no value"
    configuration = _configuration(entry.structure, entry.name)
    if isinstance(configuration, str):
        return configuration
    value = value / len(configuration) if target.extensive else value
    if target.log10 and value <= 0:
        return "not positive"
    return PropertyEntry(configuration, math.log10(value) if target.log10 else value, entry.name)


def _looked_up(values: Any, name: str) -> Any:
    """What stands at a key, _ABSENT if there is no such key; one that has dots itself comes before nested ones."""
    if not isinstance(values, Mapping):
        return _ABSENT
    if name in values:
        return values[name]
    head, _, rest = name.partition(".")
    return _looked_up(values.get(head), rest) if rest else _ABSENT


def _number(given: Any, name: str) -> float | None:
    if given is _ABSENT or is_missing(given):
        return None
    if not _is_number(given):
        raise PropertyError(f"{name} is {reprlib.repr(given)}: expected a number, or null where there is none")
    if not math.isfinite(given):
        raise PropertyError(f"{name} is {given}: expected a finite number, or null where there is none")
    return float(given)


def _is_number(given: Any) -> bool:
    return isinstance(given, (int, float, np.integer, np.floating)) and not isinstance(given, bool)


def _configuration(structure: Any, name: str) -> Configuration | str:
    if isinstance(structure, ase.Atoms):
        atoms: ase.Atoms | str = structure
    elif isinstance(structure, str):
        atoms = _from_cif(structure)
    elif isinstance(structure, Mapping) and "lattice_mat" in structure:
        atoms = _from_jarvis(structure)
    elif isinstance(structure, Mapping) and {"lattice", "sites"} <= structure.keys():
        atoms = _from_pymatgen(structure)
    elif structure is None:
        return "no structure"
    else:
        given = f"keys {reprlib.repr(list(structure))}" if isinstance(structure, Mapping) else reprlib.repr(structure)
        raise PropertyError(f"the structure has {given}: expected CIF text, or a dict of JARVIS or pymatgen")
    if isinstance(atoms, str):
        return atoms
    if _beyond(atoms.numbers):
        return BEYOND
    if problem := beyond_sense(atoms):
        raise PropertyError(problem)
    configuration = Configuration(
        atoms.numbers, atoms.positions, np.asarray(atoms.cell.array), tuple(atoms.pbc), Origin("user", name)
    )
    configuration.check_elements()
    return configuration


def _from_jarvis(atoms: Mapping[str, Any]) -> ase.Atoms | str:
    cartesian = atoms.get("cartesian", False)
    if not isinstance(cartesian, bool):
        raise PropertyError(f"cartesian is {reprlib.repr(cartesian)}: expected true or false")
    symbols = atoms.get("elements")
    if not isinstance(symbols, list):
        raise PropertyError(f"elements is {reprlib.repr(symbols)}: expected a list of symbols")
    numbers = [_atomic_number(symbol) for symbol in symbols]
    if _beyond(numbers):
        return BEYOND
    cell = _array(atoms["lattice_mat"], (3, 3), "lattice_mat")
    coordinates = _array(atoms.get("coords"), (len(numbers), 3), "coords")
    positions = coordinates if cartesian else coordinates @ cell
    return ase.Atoms(numbers=numbers, positions=positions, cell=cell, pbc=True)


def _from_pymatgen(structure: Mapping[str, Any]) -> ase.Atoms | str:
    """Of the dict of a pymatgen Structure, read as the plain numbers it is."""
    lattice, sites = structure["lattice"], structure["sites"]
    if (
        not isinstance(lattice, Mapping)
        or not isinstance(sites, list)
        or not all(isinstance(s, Mapping) for s in sites)
    ):
        raise PropertyError("the structure's lattice or sites are not as pymatgen writes them")
    pbc = lattice.get("pbc", [True, True, True])
    if not isinstance(pbc, list) or len(pbc) != 3 or not all(isinstance(p, bool) for p in pbc):
        raise PropertyError(f"pbc is {reprlib.repr(pbc)}: expected three of true and false")
    species = [site.get("species") for site in sites]
    if not all(isinstance(s, list) and s and all(isinstance(part, Mapping) for part in s) for s in species):
        raise PropertyError("a site without species: expected [{'element': ..., 'occu': 1}]")
    numbers = [_atomic_number(part.get("element")) for s in species for part in s]
    if _beyond(numbers):
        return BEYOND
    if any(len(s) > 1 or s[0].get("occu") != 1 for s in species):
        return "disordered"
    cell = _array(lattice.get("matrix"), (3, 3), "matrix")
    fractional = _array([site.get("abc") for site in sites], (len(sites), 3), "abc")
    return ase.Atoms(numbers=numbers, positions=fractional @ cell, cell=cell, pbc=pbc)


def _from_cif(text: str) -> ase.Atoms | str:
    formula = _FORMULA.search(text)
    if formula and any(_NUMBERS.get(symbol, 0) > Z_MAX for symbol in re.findall("[A-Z][a-z]?", formula[1])):
        return BEYOND  # most of a database, and found without parsing
    from pymatgen.io.cif import CifParser

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about texts that are then read well
            structures = CifParser.from_str(text).parse_structures(primitive=False, on_error="raise")
    except Exception as error:  # pymatgen raises many kinds
        problem = " ".join(str(error).split()) or type(error).__name__
        raise PropertyError(f"not readable as CIF: {problem}") from error
    if len(structures) != 1:
        raise PropertyError(f"the CIF text holds {len(structures)} structures: expected one")
    if _beyond([_atomic_number(each.symbol) for each in structures[0].composition.elements]):
        return BEYOND
    if not structures[0].is_ordered:
        return "disordered"
    numbers = [_atomic_number(site.specie.symbol) for site in structures[0]]
    return ase.Atoms(numbers=numbers, positions=structures[0].cart_coords, cell=structures[0].lattice.matrix, pbc=True)


def _beyond(numbers: Iterable[int]) -> bool:
    return max(numbers, default=0) > Z_MAX


def _atomic_number(symbol: Any) -> int:
    number = _NUMBERS.get(symbol.strip(), 0) if isinstance(symbol, str) else 0
    if not number:
        raise PropertyError(f"{reprlib.repr(symbol)} is no element: expected its symbol")
    return number


def _array(given: Any, shape: tuple[int, int], name: str) -> NDArray[np.float64]:
    try:
        array = np.array(given)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.shape != shape or array.dtype.kind not in "if" or not (np.abs(array) <= FARTHEST).all():
        raise PropertyError(f"{name} is {reprlib.repr(given)}: expected {shape} numbers, up to {FARTHEST:g}")
    return array.astype(np.float64)


def _keys(values: Mapping[Any, Any], prefix: str = "", depth: int = 3) -> Iterator[str]:
    """Keys under which numbers stand, or might."""
    for key, value in values.items():
        if isinstance(value, Mapping) and depth and key not in STRUCTURES:
            yield from _keys(value, f"{prefix}{key}.", depth - 1)
        elif _is_number(value) or is_missing(value):
            yield f"{prefix}{key}"


def _nearest(name: str, keys: Iterable[str]) -> str:
    known = sorted(keys)
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    near += [key for key in known if key not in near and (name.lower() in key.lower() or key.lower() in name.lower())]
    shown = (near or known)[:8]
    return f"{'nearest' if near else 'some'} keys: {', '.join(shown)}" if shown else "the entries hold no numbers"


def _counted(left_out: Mapping[str, int]) -> str:
    total = sum(left_out.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()) if count)
    return f"; of {total}, left out: {reasons}" if total else "; the files hold none"
