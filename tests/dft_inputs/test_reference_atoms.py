"""An isolated atom is asked for with the right multiplicity, in a box that lets it converge."""

import itertools
import re
import shutil
import subprocess

import pytest

from aiida_argonaut.dft_inputs.elements import ElementError, load_elements
from aiida_argonaut.dft_inputs.protocol import ProtocolError, load_protocol, plane_waves, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.build import build_family
from aiida_argonaut.dft_inputs.reference_atoms import (
    BOX,
    THRESHOLD,
    is_reference_atom,
    judged_by,
    reference_atom,
    unpaired_electrons,
)

SMOOTH, COLLINEAR = load_protocol("fast"), load_protocol("fast", {"spin": "collinear"})


def shells(atomic_number):
    """Unpaired electrons of H-Ar: 1s 2s 2p 3s 3p are filled one after the other."""
    for orbitals in (1, 1, 3, 1, 3):
        if atomic_number <= 2 * orbitals:
            return min(atomic_number, 2 * orbitals - atomic_number)
        atomic_number -= 2 * orbitals
    raise AssertionError


@pytest.mark.parametrize(("number", "symbol"), list(enumerate(load_elements(), start=1)))
def test_multiplicity_is_that_of_hund(number, symbol):
    unpaired = unpaired_electrons(symbol)
    assert unpaired == shells(number)
    assert (load_elements()[symbol].valence - unpaired) % 2 == 0
    assert reference_atom(COLLINEAR, symbol).parameters["SYSTEM"]["tot_magnetization"] == unpaired


def test_collinear_atom_has_whole_electrons():
    system = reference_atom(COLLINEAR, "O").parameters["SYSTEM"]
    assert (system["occupations"], system["nspin"], system["nosym"]) == ("fixed", 2, True)
    assert not {"smearing", "degauss"} & set(system)
    assert system["starting_magnetization"]["O"] > 0


def test_smooth_atom_is_smeared_like_every_label():
    atom, label = reference_atom(SMOOTH, "O"), pw_parameters(SMOOTH, ["O"], ["O"], keep_files=True)
    assert {key: value for key, value in atom.parameters["SYSTEM"].items() if key != "nosym"} == label["SYSTEM"]
    assert atom.parameters["CONTROL"] == label["CONTROL"]
    assert atom.symbols == ("O",)
    assert atom.mesh == (1, 1, 1)


def test_cutoffs_are_those_of_the_campaign():
    table = load_elements()
    for elements, wanted in ((["Al", "Na"], table["Na"].cutoffs["fast"]), (None, table["Al"].cutoffs["fast"])):
        system = reference_atom(SMOOTH, "Al", elements).parameters["SYSTEM"]
        assert system.items() >= plane_waves(SMOOTH, wanted).items()
    assert reference_atom(SMOOTH, "Al", cutoffs=(33.0, 250.0)).parameters["SYSTEM"]["ecfixed"] == 33.0
    with pytest.raises(ProtocolError, match="Al"):
        reference_atom(SMOOTH, "Al", ["Na"])


def test_box_and_threshold():
    assert len(set(BOX)) == 3
    assert [row[i] for i, row in enumerate(reference_atom(SMOOTH, "H").cell)] == list(BOX)
    stringent = load_protocol("stringent", {"spin": "collinear"})
    assert reference_atom(stringent, "B").parameters["ELECTRONS"]["conv_thr"] == THRESHOLD
    with pytest.raises(ProtocolError, match="three different edges"):
        reference_atom(SMOOTH, "H", box=(9.0, 9.0, 10.0))


def test_an_atom_is_known_by_its_box():
    atom = reference_atom(SMOOTH, "O")
    assert is_reference_atom([8], [[0, 0, 0]], atom.cell)
    assert not is_reference_atom([8], [[0, 0, 0.1]], atom.cell)
    assert not is_reference_atom([8, 8], [[0, 0, 0], [0, 0, 1.2]], atom.cell)
    assert not is_reference_atom([8], [[0, 0, 0]], [[BOX[0] + 0.1, 0, 0], *atom.cell[1:]])


def test_an_atom_is_judged_by_what_it_was_asked():
    loose, tight = load_protocol("fast", {"conv_thr_per_atom": 1e-5}), load_protocol("stringent")
    assert judged_by(tight).conv_thr_per_atom == THRESHOLD
    assert judged_by(loose).conv_thr_per_atom == 1e-5
    wide = load_protocol("fast", {"degauss": 0.05})
    assert judged_by(wide).max_smearing_energy == pytest.approx(5 * 0.05 * 13.605693)
    assert judged_by(wide).max_force == wide.max_force


def test_an_atom_has_no_dispersion():
    system = reference_atom(load_protocol("fast", {"dispersion": "d3"}), "Ar").parameters["SYSTEM"]
    assert not [key for key in system if "vdw" in key or "d3" in key]


def test_unknown_element():
    with pytest.raises(ElementError, match="Fe"):
        reference_atom(SMOOTH, "Fe")


def namelist(name, entries):
    """One namelist of pw.x; a dict is an entry per kind of atom, of which there is one."""
    lines = []
    for key, value in entries.items():
        index, value = ("(1)", next(iter(value.values()))) if isinstance(value, dict) else ("", value)
        text = f".{value}.".lower() if isinstance(value, bool) else repr(value)
        lines.append(f"  {key}{index} = {text}\n")
    return f"&{name}\n{''.join(lines)}/\n"


@pytest.mark.dft
@pytest.mark.skipif(not (shutil.which("ld1.x") and shutil.which("pw.x")), reason="ld1.x or pw.x is not installed")
def test_pw_finds_the_energy_of_hydrogen(tmp_path):
    build_family(tmp_path / "family", ["H"])
    atom = reference_atom(COLLINEAR, "H", box=(6.0, 7.0, 8.0))
    namelists = {name: dict(entries) for name, entries in atom.parameters.items()}
    namelists["CONTROL"] |= {"pseudo_dir": str(tmp_path / "family"), "outdir": str(tmp_path / "out"), "disk_io": "none"}
    namelists["SYSTEM"] |= {"ibrav": 0, "nat": 1, "ntyp": 1}
    cell = "\n".join(" ".join(map(str, row)) for row in atom.cell)
    text = "".join(itertools.starmap(namelist, namelists.items()))
    text += f"ATOMIC_SPECIES\nH 1.0 H.upf\nATOMIC_POSITIONS angstrom\nH 0 0 0\nCELL_PARAMETERS angstrom\n{cell}\n"
    (tmp_path / "pw.in").write_text(text + "K_POINTS gamma\n")
    done = subprocess.run(["pw.x", "-in", "pw.in"], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = re.findall(r"^!\s+total energy\s+=\s+(\S+)", done.stdout, re.MULTILINE)
    assert float(found[0]) == pytest.approx(-1.0, abs=0.003)  # Ry; PBE's own error is below 0.0001
    assert re.search(r"total magnetization\s+=\s+1\.00", done.stdout)
