"""A label that pw.x calls converged is turned away when its numbers are missing, or cannot be."""

import numpy as np
import pytest

from aiida_argonaut.dft_inputs.label_sanity import REASONS, RYDBERG, first_problem, label_figures, scf_force_correction
from aiida_argonaut.dft_inputs.protocol import load_protocol

FAST = load_protocol("fast")
SYMBOLS = ["C", "H", "H"]
ATOMS = {"C": -240.0, "H": -12.0}
GPA = 1 / 160.21766208
GOOD = {
    "energy": -277.0,
    "forces": [[1.0, 0.0, 2.0], [-1.0, 3.0, 0.0], [0.0, -3.0, -2.0]],
    "stress": -100 * GPA * np.eye(3),
    "smearing_energy": -0.06,
    "scf_accuracy": 2e-8 * RYDBERG,
    "force_correction": 0.002,
    "reference_energies": ATOMS,
}


def test_a_good_label_has_no_problem():
    assert first_problem(FAST, SYMBOLS, **GOOD) is None
    bare = {key: GOOD[key] for key in ("energy", "forces", "stress")}
    assert first_problem(FAST, SYMBOLS, **bare) is None
    assert first_problem(FAST, SYMBOLS, **{**bare, "stress": [-100 * GPA] * 3 + [0.0] * 3}) is None
    assert first_problem(load_protocol("fast", {"stress": False}), SYMBOLS, **{**bare, "stress": None}) is None


PROBLEMS = {
    "no energy": ("label_incomplete", "the energy is None", {"energy": None}),
    "a wrong energy": ("label_incomplete", "the energy is nan", {"energy": float("nan")}),
    "no forces": ("label_incomplete", "no forces", {"forces": None}),
    "no numbers": ("label_incomplete", "no forces", {"forces": "forces"}),
    "forces of another cell": ("label_incomplete", "shape (2, 3), expected (3, 3)", {"forces": np.zeros((2, 3))}),
    "infinite forces": ("label_incomplete", "9 values that are not finite", {"forces": np.full((3, 3), np.inf)}),
    "no stress": ("label_incomplete", "no stress", {"stress": None}),
    "half a stress": ("label_incomplete", "stress of shape (3,)", {"stress": np.zeros(3)}),
    "a threshold made looser": (
        "scf_accuracy", "4.1e-06 eV, the protocol asks for 4.1e-07 eV", {"scf_accuracy": 3e-7 * RYDBERG},
    ),
    "no accuracy": ("scf_accuracy", "nan", {"scf_accuracy": float("nan")}),
    "a net force": (
        "net_force", "a net force of 0.02 eV/Å, the cap is 0.01", {"forces": [[0.02, 0, 0], [0, 1, 0], [0, -1, 0]]},
    ),
    "forces far from convergence": (
        "force_correction_cap", "SCF correction of the forces of 0.5 eV/Å, the cap is 0.1", {"force_correction": 0.5},
    ),
    "an unprintable correction": ("force_correction_cap", "inf eV/Å", {"force_correction": float("inf")}),
    "a force": ("force_cap", "85 eV/Å, the cap is 60", {"forces": [[85.0, 0, 0], [-85.0, 0, 0], [0, 0, 0]]}),
    "a pressure": ("pressure_cap", "a pressure of 900 GPa, the cap is 500", {"stress": -900 * GPA * np.eye(3)}),
    "a tension": ("pressure_cap", "a pressure of -900 GPa, the cap is 500", {"stress": 900 * GPA * np.eye(3)}),
    "bound too well": ("energy_cap", "-50 eV/atom from the free atoms, expected -12 to 15", {"energy": -414.0}),
    "not bound at all": ("energy_cap", "50 eV/atom", {"energy": -114.0}),
    "smeared beyond number": ("smearing_cap", "nan eV/atom", {"smearing_energy": float("nan")}),
    "at the edge of a gap": ("smearing_cap", "-TS is positive, 0.05 eV/atom", {"smearing_energy": 0.15}),
    "smeared out": ("smearing_cap", "-TS of -0.5 eV/atom, the cap is 0.4", {"smearing_energy": -1.5}),
}  # fmt: skip


@pytest.mark.parametrize("what", PROBLEMS)
def test_each_problem_is_named_with_number_cap_and_unit(what):
    reason, words, change = PROBLEMS[what]
    found = first_problem(FAST, SYMBOLS, **{**GOOD, **change})
    assert found is not None
    assert found[0] == reason
    assert words in found[1]
    assert "\n" not in found[1]


def test_every_reason_is_met():
    assert {reason for reason, _, _ in PROBLEMS.values()} == set(REASONS)


def test_caps_are_those_of_the_protocol():
    changes = {
        "max_net_force": 0.1, "max_force_correction": 1.0, "max_force": 100.0, "max_pressure": 1000.0,
        "min_energy_per_atom": -60.0, "max_energy_per_atom": 60.0, "max_smearing_energy": 1.0,
    }  # fmt: skip
    tolerant = load_protocol("fast", changes)
    capped = {name: problem for name, problem in PROBLEMS.items() if name != "at the edge of a gap"}
    refused = [change for reason, _, change in capped.values() if reason not in ("label_incomplete", "scf_accuracy")]
    finite = [change for change in refused if np.isfinite(list(map(np.max, change.values()))).all()]
    assert [first_problem(tolerant, SYMBOLS, **{**GOOD, **change}) for change in finite] == [None] * len(finite)
    loose = load_protocol("fast", {"conv_thr_per_atom": 1e-7})
    assert first_problem(loose, SYMBOLS, **{**GOOD, "scf_accuracy": 3e-7 * RYDBERG}) is None


def test_the_accuracy_may_be_rounded_up_by_pw():
    one = {**GOOD, "energy": -13.0, "forces": np.zeros((1, 3)), "smearing_energy": 0.0, "scf_accuracy": 2e-8 * RYDBERG}
    protocol = load_protocol("fast", {"conv_thr_per_atom": 1.5e-8})  # reached with 1.5e-8, printed as 0.00000002 Ry
    assert first_problem(protocol, ["H"], **one) is None


def test_an_element_without_a_reference_is_not_judged_by_its_energy():
    for references in (None, {}, {"C": -240.0}):
        given = {**GOOD, "energy": 1e6, "reference_energies": references}
        assert first_problem(FAST, SYMBOLS, **given) is None
        assert "energy_per_atom_eV" not in label_figures(1e6, None, None, SYMBOLS, reference_energies=references)


def test_figures_are_what_can_be_said_of_a_label():
    figures = {key: value for key, value in GOOD.items() if key != "scf_accuracy"}
    assert label_figures(symbols=SYMBOLS, **figures) == pytest.approx(
        {
            "energy_eV": -277.0, "energy_per_atom_eV": -13 / 3, "max_force_eV_per_A": 13**0.5,
            "net_force_eV_per_A": 0.0, "force_correction_eV_per_A": 0.002, "pressure_GPa": 100.0,
            "smearing_eV_per_atom": -0.02,
        }
    )  # fmt: skip
    broken = label_figures(float("nan"), np.full((3, 3), np.nan), [[1.0]], SYMBOLS, smearing_energy=0.3)
    assert broken == pytest.approx({"smearing_eV_per_atom": 0.1})


def test_the_correction_of_the_forces_is_read_from_the_last_of_them():
    line = "     Total force =     0.202072     Total SCF correction =     {}\n"
    bohr = 0.529177210903
    stdout = line.format("0.500000") + line.format("0.000009")
    assert scf_force_correction(stdout) == pytest.approx(9e-6 * RYDBERG / bohr)
    assert scf_force_correction("no forces here") is None
    assert scf_force_correction(line.format("************")) == float("inf")
