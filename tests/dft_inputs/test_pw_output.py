"""Signs and units of pw.x, against finite differences of a real run."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from aiida_argonaut.dft_inputs.kpoints import kpoint_mesh
from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.pseudos.build import build_family
from aiida_argonaut.dft_inputs.pw_output import PwOutputError, pw_version, tensile_stress

needs_qe = pytest.mark.skipif(
    not (shutil.which("ld1.x") and shutil.which("pw.x")), reason="ld1.x or pw.x is not installed"
)
RYDBERG = 13.605693122994


def test_compressed_cell_has_negative_stress():
    printed = np.diag([10.0, 10.0, 10.0])
    assert np.allclose(np.diag(tensile_stress(printed)), -10 / 160.21766208)
    with pytest.raises(PwOutputError, match="3, 3"):
        tensile_stress([1.0, 2.0])


def test_version():
    assert pw_version("\n     Program PWSCF v.6.7MaX starts on 21Nov2026 at  1:56:31 \n") == "6.7"
    assert pw_version("     Program PWSCF v.7.4.1 starts on") == "7.4.1"
    with pytest.raises(PwOutputError, match="banner"):
        pw_version("hello")


def fortran(value):
    if isinstance(value, bool):
        return ".true." if value else ".false."
    return f"'{value}'" if isinstance(value, str) else str(value)


def run_hydrogen(folder, strain):
    cell = np.array([[2.4, 0.1, 0.0], [0.0, 2.6, 0.2], [0.1, 0.0, 2.5]]) * (1 + strain)
    positions = np.array([[0.0, 0.0, 0.0], [0.25, 0.35, 0.3]]) @ cell
    protocol = load_protocol("fast", {"wavefunction_cutoff": 60.0, "density_cutoff": 300.0, "conv_thr_per_atom": 1e-10})
    namelists = pw_parameters(protocol, ["H"], ["H", "H"])
    namelists["CONTROL"] |= {"pseudo_dir": str(folder), "outdir": str(folder / "out")}
    namelists["SYSTEM"] |= {"ibrav": 0, "nat": 2, "ntyp": 1}
    text = "".join(
        f"&{name}\n" + "".join(f"  {key} = {fortran(value)}\n" for key, value in entries.items()) + "/\n"
        for name, entries in namelists.items()
    )
    rows = ["\n".join(" ".join(f"{x:.10f}" for x in row) for row in cell)]
    atoms = "\n".join("H " + " ".join(f"{x:.10f}" for x in row) for row in positions)
    mesh = " ".join(map(str, kpoint_mesh(cell / (1 + strain), protocol.kpoints_spacing)))
    text += f"ATOMIC_SPECIES\nH 1.0 H.upf\nATOMIC_POSITIONS angstrom\n{atoms}\nCELL_PARAMETERS angstrom\n{rows[0]}\n"
    (folder / "pw.in").write_text(text + f"K_POINTS automatic\n{mesh} 0 0 0\n")
    done = subprocess.run(["pw.x", "-in", "pw.in"], cwd=folder, capture_output=True, text=True, check=True)
    energy = float(re.findall(r"^!\s+total energy\s+=\s+(\S+)", done.stdout, re.MULTILINE)[0]) * RYDBERG
    table = done.stdout.partition("total   stress")[2].splitlines()[1:4]
    kbar = np.array([[float(x) for x in line.split()[3:6]] for line in table])
    return energy, tensile_stress(kbar / 10), abs(np.linalg.det(cell)), done.stdout


@pytest.mark.dft
@needs_qe
def test_stress_is_the_derivative_of_the_labelled_energy(tmp_path):
    build_family(tmp_path / "family", ["H"])
    folder = tmp_path / "family"
    step = 0.004
    _, stress, volume, stdout = run_hydrogen(folder, 0.0)
    up, down = (run_hydrogen(folder, sign * step)[0] for sign in (1, -1))
    assert pw_version(stdout)
    assert abs(np.trace(stress)) > 0.01
    assert np.trace(stress) == pytest.approx((up - down) / (2 * step) / volume, rel=0.03)
