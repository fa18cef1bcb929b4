"""The isolated atom: occupations, input, and pw.x giving the energy of the header."""

import shutil

import pytest

from aiida_argonaut.dft_inputs.pseudos.atom import AtomCheck, atom_input, check_atom_energy, occupations
from aiida_argonaut.dft_inputs.pseudos.build import build_family
from aiida_argonaut.dft_inputs.pseudos.recipes import SYMBOLS, load_recipe

needs_qe = pytest.mark.skipif(
    not (shutil.which("ld1.x") and shutil.which("pw.x")), reason="ld1.x or pw.x is not installed"
)


@pytest.mark.parametrize("element", SYMBOLS)
def test_occupations_hold_all_valence_electrons(element):
    recipe = load_recipe(element)
    electrons = occupations(recipe)
    assert sum(electrons) == pytest.approx(recipe.valence)
    assert all(0 < n <= 2 for n in electrons)


def test_open_shell_is_spherical():
    assert occupations(load_recipe("C")) == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])
    assert occupations(load_recipe("Na")) == pytest.approx([2, 2, 2, 2, 1])


def test_input_is_one_atom(tmp_path):
    text = atom_input(load_recipe("C"), tmp_path / "C.upf", box=9.0)
    assert "nbnd = 4" in text
    assert text.rstrip().count("0.666666666667") == 3


def test_verdict():
    assert AtomCheck("C", -241.7, -241.69).passed
    assert not AtomCheck("C", -241.7, -241.5).passed


@pytest.mark.dft
@needs_qe
def test_pw_agrees_with_the_header(tmp_path):
    path = build_family(tmp_path / "family", ["H"])["H"]
    found = check_atom_energy(load_recipe("H"), path, box=7.0)
    assert found.difference == pytest.approx(0.0, abs=0.02)
    assert found.pw_energy == pytest.approx(-12.488, abs=0.03)
