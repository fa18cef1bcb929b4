"""A protocol: every choice that decides what a DFT label means, and the pw.x input that follows from it.

Labels are comparable only if they were made alike. `protocol_document` lists what decides the numbers of a label
(cutoffs, k spacing, smearing, spin, dispersion, threshold, the md5 of each pseudopotential, the version of pw.x); its
hash travels with every label, and a dataset refuses a second hash. How the self-consistency is reached (mixing, number
of steps) and which results are turned away (caps) is not in it: the first does not change a converged number, the
second only which numbers are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

import yaml

from .elements import STRINGENCIES, campaign_cutoffs, load_elements
from .errors import closest

DOCUMENT_FORMAT = 1
SMEARINGS = ("cold", "gaussian", "methfessel-paxton", "fermi-dirac")
MIXINGS = ("plain", "TF", "local-TF")
SPINS = ("none", "collinear")
DISPERSIONS = ("none", "d3")
D3 = {"vdw_corr": "dft-d3", "dftd3_version": 4, "dftd3_threebody": False}
"""`d3` in the words of pw.x: DFT-D3 for pairs of atoms, Becke-Johnson damping, the functional of the pseudopotentials.

Triples of atoms, which pw.x would add by itself, cost seconds per label. A free atom has no dispersion, so that
reference energies stay what they are.
"""
SMOOTH_WIDTH = 0.4
"""Width of the smooth edge (`q2sigma` of pw.x) as a share of `cutoff_smoothing`."""
SMOOTH_HEIGHT = 1000.0
"""Ry: half of what the kinetic energy of a plane wave beyond the edge is raised by (`qcutz`)."""
MINIMUM_MAGNETIZATION = 0.05
"""Of a closed-shell atom in the collinear protocol: lets the density find out by itself."""


class ProtocolError(ValueError):
    """A protocol that does not exist or makes no sense; the message says what was given and what is expected."""


@dataclass(frozen=True)
class Protocol:
    """One way to make labels. The YAML files in protocols/ hold the three that are shipped."""

    name: str
    stringency: str
    """Column of elements.yaml: the cutoff is the largest one over the elements of the campaign."""
    kpoints_spacing: float
    """1/Å with the factor 2 pi; see kpoints.py."""
    smearing: str
    """Kind of smearing of the occupations, in the words of pw.x."""
    degauss: float
    """Ry, width of the smearing."""
    conv_thr_per_atom: float
    """Ry per atom, estimated error of the energy at which self-consistency ends."""
    mixing_beta: float
    mixing_mode: str
    electron_maxstep: int
    spin: str
    """none (every label without spin polarisation) or collinear (starting from the moments of elements.yaml)."""
    stress: bool
    """Whether labels have a stress."""
    max_force: float
    """eV/Å; a label with a larger force component norm on any atom is turned away."""
    max_pressure: float
    """GPa; a label whose pressure is larger in size is turned away."""
    minimum_distance_ratio: float
    """No configuration with a pair closer than this share of its summed covalent radii is sent to DFT."""
    wavefunction_cutoff: float | None = None
    """Ry; None: from elements.yaml."""
    density_cutoff: float | None = None
    """Ry; None: from elements.yaml."""
    cutoff_smoothing: float = 0.0
    """Ry by which plane waves go beyond the wave-function cutoff, which is then a smooth edge (see `plane_waves`); 0: a
    hard one."""
    dispersion: str = "none"
    """none, or d3 (see D3)."""
    max_net_force: float = 0.01
    """eV/Å, norm of the sum of all forces."""
    max_force_correction: float = 0.1
    """eV/Å, norm of what pw.x adds to the forces for incomplete self-consistency."""
    min_energy_per_atom: float = -12.0
    """eV/atom against the free pseudo-atoms."""
    max_energy_per_atom: float = 15.0
    """eV/atom against the free pseudo-atoms."""
    max_smearing_energy: float = 0.4
    """eV/atom, size of -TS."""

    def __post_init__(self) -> None:
        for key, valid in (
            ("stringency", STRINGENCIES),
            ("smearing", SMEARINGS),
            ("mixing_mode", MIXINGS),
            ("spin", SPINS),
            ("dispersion", DISPERSIONS),
        ):
            if getattr(self, key) not in valid:
                given = getattr(self, key)
                raise ProtocolError(f"protocol {self.name}: {key} {given!r}{closest(given, valid)}")
        if not isinstance(self.stress, bool):
            raise ProtocolError(f"protocol {self.name}: stress must be true or false, got {self.stress!r}")
        for key in _POSITIVE:
            value = getattr(self, key)
            optional = value is None and key.endswith("_cutoff")
            if not optional and not (_is_number(value) and value > 0):
                raise ProtocolError(f"protocol {self.name}: {key} must be a number above 0, got {value!r}")
        if not (_is_number(self.cutoff_smoothing) and self.cutoff_smoothing >= 0):
            raise ProtocolError(
                f"protocol {self.name}: cutoff_smoothing must be a number of Ry from 0, got {self.cutoff_smoothing!r}"
            )
        if self.mixing_beta > 1:
            raise ProtocolError(f"protocol {self.name}: mixing_beta must be at most 1, got {self.mixing_beta}")
        low, high = self.min_energy_per_atom, self.max_energy_per_atom
        if not (_is_number(low) and _is_number(high) and low < 0 < high):
            raise ProtocolError(
                f"protocol {self.name}: min_energy_per_atom must be below and max_energy_per_atom above 0, "
                f"got {low!r} and {high!r}"
            )

    def cutoffs(self, elements: Iterable[str]) -> tuple[float, float]:
        """Wave-function and density cutoff in Ry of a campaign with these elements; raises ElementError."""
        wavefunction, density = campaign_cutoffs(elements, self.stringency)
        return self.wavefunction_cutoff or wavefunction, self.density_cutoff or density


_POSITIVE = (
    "kpoints_spacing",
    "degauss",
    "conv_thr_per_atom",
    "mixing_beta",
    "electron_maxstep",
    "max_force",
    "max_pressure",
    "max_net_force",
    "max_force_correction",
    "max_smearing_energy",
    "minimum_distance_ratio",
    "wavefunction_cutoff",
    "density_cutoff",
)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def load_protocol(name: str, overrides: Mapping[str, Any] | None = None) -> Protocol:
    """A shipped protocol, with some of its values replaced.

    Raises:
        ProtocolError: no such protocol, a key that a protocol does not have (the nearest one is named), or a bad value.
    """
    if name not in STRINGENCIES:
        raise ProtocolError(f"no protocol {name!r}{closest(name, STRINGENCIES)}")
    values = yaml.safe_load((resources.files(__package__) / "protocols" / f"{name}.yaml").read_text())
    valid = [field.name for field in fields(Protocol)]
    for key in overrides or {}:
        if key not in valid:
            raise ProtocolError(f"protocol {name} has no key {key!r}{closest(key, valid)}")
    return Protocol(**{"name": name, **values, **(overrides or {})})


def pw_parameters(
    protocol: Protocol,
    elements: Iterable[str],
    symbols: Sequence[str],
    cutoffs: tuple[float, float] | None = None,
    keep_files: bool = False,
) -> dict[str, dict[str, Any]]:
    """Namelists of pw.x for one label.

    Args:
        protocol: the choices.
        elements: all elements of the *campaign*: they set the cutoffs, so that every label has the same.
        symbols: one symbol per atom of this configuration, for the threshold and the starting moments.
        cutoffs: Ry, wave functions and density, where they come from an installed family rather than elements.yaml.
        keep_files: write charge density, wave functions and XML, which a rescue needs to restart; a first attempt needs
            none of them, as energy, forces and stress are in the text output.

    Returns:
        {"CONTROL": ..., "SYSTEM": ..., "ELECTRONS": ...}, the `parameters` of AiiDA's PwCalculation. Files, cell,
        atoms and k points are the caller's.

    Raises:
        ProtocolError: no atoms, or an atom whose element is not one of the campaign.
        ElementError: an element outside elements.yaml.
    """
    wavefunction, density = cutoffs or protocol.cutoffs(elements)
    foreign = sorted(set(symbols) - set(elements))
    if not symbols or foreign:
        raise ProtocolError(
            f"a label needs atoms of the campaign's elements {sorted(set(elements))}, got {foreign or 'none'}"
        )
    system: dict[str, Any] = {
        **plane_waves(protocol, (wavefunction, density)),
        "occupations": "smearing",
        "smearing": protocol.smearing,
        "degauss": protocol.degauss,
    }
    if protocol.spin == "collinear":
        system |= {"nspin": 2, "starting_magnetization": starting_magnetization(symbols)}
    if protocol.dispersion == "d3":
        system |= D3
    return {
        "CONTROL": {
            "calculation": "scf",
            "tprnfor": True,
            "tstress": protocol.stress,
            "disk_io": "low" if keep_files else "none",
        },
        "SYSTEM": system,
        "ELECTRONS": {
            "conv_thr": protocol.conv_thr_per_atom * len(symbols),
            "mixing_beta": protocol.mixing_beta,
            "mixing_mode": protocol.mixing_mode,
            "electron_maxstep": protocol.electron_maxstep,
        },
    }


def plane_waves(protocol: Protocol, cutoffs: tuple[float, float]) -> dict[str, float]:
    """What pw.x is told of its plane waves: a hard cutoff, or a smooth edge that stays where it is when cells change.

    With a hard cutoff plane waves come and go as a cell is strained. The printed stress is that of constant plane
    waves, so that energies of cells of different volume contradict it (Pulay stress). M. Bernasconi et al., J. Phys.
    Chem. Solids 56, 501 (1995), raise the kinetic energy of what lies beyond a fixed energy instead, by
    height * (1 + erf((k^2 - cutoff) / width)): plane waves are gone before the hard edge, and the stress knows of it.
    Height and width are ours (docs/dft.md).

    Args:
        protocol: `cutoff_smoothing`.
        cutoffs: Ry, wave functions and density.

    Returns:
        `ecutwfc` and `ecutrho` in Ry, with a smooth edge both larger in proportion, and `ecfixed`, `q2sigma`, `qcutz`.
    """
    wavefunction, density = cutoffs
    beyond = protocol.cutoff_smoothing
    if not beyond:
        return {"ecutwfc": wavefunction, "ecutrho": density}
    last = wavefunction + beyond
    edge = {"ecfixed": wavefunction, "q2sigma": round(SMOOTH_WIDTH * beyond, 6), "qcutz": SMOOTH_HEIGHT}
    return {"ecutwfc": last, "ecutrho": round(density * last / wavefunction, 6), **edge}


def starting_magnetization(elements: Iterable[str]) -> dict[str, float]:
    """Starting magnetisation of each element for pw.x, from -1 to 1: moment of elements.yaml / valence electrons.

    At least MINIMUM_MAGNETIZATION, as pw.x refuses a spin-polarised start in which every element has none.
    """
    table = load_elements()
    shares = {symbol: table[symbol].moment / table[symbol].valence for symbol in sorted(set(elements))}
    return {symbol: round(max(share, MINIMUM_MAGNETIZATION), 6) for symbol, share in shares.items()}


def protocol_document(
    protocol: Protocol, pseudo_md5s: Mapping[str, str], pw_version: str, cutoffs: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Everything that decides the numbers of a label, as a JSON-like dict: hashed, and shown on a conflict.

    Args:
        protocol: the choices.
        pseudo_md5s: md5 of the pseudopotential of every element of the campaign, by symbol.
        pw_version: such as '6.7'.
        cutoffs: Ry as in `pw_parameters`.
    """
    if not pseudo_md5s or not pw_version:
        raise ProtocolError("a protocol document needs the md5 of each pseudopotential and the version of pw.x")
    wavefunction, density = cutoffs or protocol.cutoffs(pseudo_md5s)
    document: dict[str, Any] = {
        "format": DOCUMENT_FORMAT,
        "code": f"pw.x {pw_version}",
        "energy": "free energy E - TS of the smeared electrons, the '!' line of pw.x",
        "wavefunction_cutoff_ry": float(wavefunction),
        "density_cutoff_ry": float(density),
        "kpoints": "gamma-centred, ceil(|b| / spacing) per axis",
        "kpoints_spacing": float(protocol.kpoints_spacing),
        "smearing": protocol.smearing,
        "degauss_ry": float(protocol.degauss),
        "conv_thr_per_atom_ry": float(protocol.conv_thr_per_atom),
        "spin": protocol.spin,
        "pseudopotentials": dict(sorted(pseudo_md5s.items())),
    }
    if protocol.cutoff_smoothing:
        document["plane_waves_ry"] = plane_waves(protocol, (float(wavefunction), float(density)))
    if protocol.spin == "collinear":
        document["starting_magnetization"] = starting_magnetization(pseudo_md5s)
    if protocol.dispersion != "none":
        document["dispersion"] = {"method": protocol.dispersion, **D3}
    return document


def protocol_hash(
    protocol: Protocol, pseudo_md5s: Mapping[str, str], pw_version: str, cutoffs: tuple[float, float] | None = None
) -> str:
    """'p' and 31 hex digits over `protocol_document`.

    The letter in front keeps readers of extended XYZ from taking a hash such as 1234e56 for a number.
    """
    return document_hash(protocol_document(protocol, pseudo_md5s, pw_version, cutoffs))


def document_hash(document: Mapping[str, Any]) -> str:
    """'p' and 31 hex digits over a protocol document, independent of the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return "p" + hashlib.sha256(text.encode()).hexdigest()[:31]
