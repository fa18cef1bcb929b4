"""The D3 option against a real pw.x: it enters the energy of the label, and forces and stress are its derivatives."""

import re
import shutil
import subprocess

import ase
import ase.io
import numpy as np
import pytest

from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.build import build_family

pytestmark = [
    pytest.mark.dft,
    pytest.mark.skipif(not (shutil.which("ld1.x") and shutil.which("pw.x")), reason="ld1.x or pw.x is not installed"),
]
RYDBERG = 13.605693122994


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    build_family(folder, ["He"])
    return folder


@pytest.fixture
def run(family, tmp_path):
    """run(atoms, dispersion): energy of the '!' line and of D3, eV, and the atoms that ASE reads from the output."""

    def ran(atoms, dispersion):
        given = {"wavefunction_cutoff": 20.0, "density_cutoff": 100.0, "dispersion": dispersion}
        namelists = pw_parameters(load_protocol("fast", given), ["He"], ["He", "He"])
        namelists["CONTROL"] |= {"pseudo_dir": str(family), "outdir": "./out"}
        ase.io.write(
            tmp_path / "pw.in", atoms, format="espresso-in", input_data=namelists, pseudopotentials={"He": "He.upf"}
        )
        with (tmp_path / "pw.out").open("w") as sink:
            subprocess.run(["pw.x", "-in", "pw.in"], cwd=tmp_path, stdout=sink, check=True)
        stdout = (tmp_path / "pw.out").read_text()
        energy = float(re.findall(r"^!\s+total energy\s+=\s+(\S+)", stdout, re.MULTILINE)[-1])
        of_d3 = float((re.findall(r"DFT-D3 Dispersion\s+=\s+(\S+)", stdout) or ["0"])[-1])
        return energy * RYDBERG, of_d3 * RYDBERG, ase.io.read(tmp_path / "pw.out", format="espresso-out")

    return ran


def helium(stretch=0.0, shift=0.0):
    cell = np.array([[2.4, 0.1, 0.0], [0.0, 2.6, 0.2], [0.1, 0.0, 2.5]])
    atoms = ase.Atoms("He2", cell=cell, scaled_positions=[[0, 0, 0], [0.45, 0.35, 0.4]], pbc=True)
    atoms.set_cell(cell * (1 + stretch), scale_atoms=True)
    atoms.positions[1, 1] += shift
    return atoms


def test_dispersion_is_part_of_energy_forces_and_stress(run):
    without, nothing, plain = run(helium(), "none")
    energy, of_d3, dispersed = run(helium(), "d3")
    assert nothing == 0
    assert energy - without == pytest.approx(of_d3, abs=1e-6)
    assert of_d3 < -0.001
    step = 0.02
    up, down = (run(helium(stretch=sign * step), "d3")[1] for sign in (1, -1))
    slope = (up - down) / (2 * step) / helium().get_volume()
    assert np.sum((dispersed.get_stress() - plain.get_stress())[:3]) == pytest.approx(slope, rel=0.03)
    up, down = (run(helium(shift=sign * step), "d3")[1] for sign in (1, -1))
    force = -(up - down) / (2 * step)
    assert abs(force) > 1e-4
    assert (dispersed.get_forces() - plain.get_forces())[1, 1] == pytest.approx(force, rel=0.05)
