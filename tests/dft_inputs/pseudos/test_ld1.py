"""From recipe to input, from run to verdict."""

import re
import shutil

import numpy as np
import pytest

from aiida_argonaut.dft_inputs.pseudos import ld1
from aiida_argonaut.dft_inputs.pseudos.recipes import SYMBOLS, load_recipe

needs_ld1 = pytest.mark.skipif(shutil.which("ld1.x") is None, reason="ld1.x is not installed")


@pytest.mark.parametrize("element", SYMBOLS)
def test_input_says_what_the_recipe_says(element):
    recipe = load_recipe(element)
    text = ld1.ld1_input(recipe)
    assert f"zed = {recipe.atomic_number}.0" in text
    assert f"config = '{recipe.configuration}'" in text
    assert "dft = 'PBE'" in text
    assert "lpaw = .true." in text
    rows = text.rstrip().rsplit("/\n", 1)[1].splitlines()
    assert int(rows[0]) == len(rows) - 1 == len(recipe.projectors)
    assert ("rcore" in text) == (recipe.core_radius is not None)
    assert ("lloc = -1" in text) == (recipe.local_radius is not None)


def run_with_poles(all_electron, pseudo):
    energies = np.arange(-10, 4, 0.01)

    def table(positions):
        phase = sum(np.heaviside(energies - p, 1.0) for p in positions) if positions else np.zeros_like(energies)
        falling = -0.1 * energies + 5.0 * phase
        return np.column_stack([energies, falling, -0.1 * energies, -0.1 * energies])

    return ld1.Ld1Run("", "", table(all_electron), table(pseudo))


def test_ghost_is_found():
    assert ld1.ghost_states(run_with_poles([-1.0], [-1.0]), 0) == []
    ghosts = ld1.ghost_states(run_with_poles([-1.0], [-4.0, -1.0]), 0)
    assert ghosts == pytest.approx([-4.0], abs=0.02)
    assert ld1.ghost_states(run_with_poles([-7.0, -1.0], [-1.0]), 0) == [], (
        "a core state that the dataset lacks is no ghost"
    )


def test_check_atom_refuses_wrong_eigenvalues():
    recipe = load_recipe("H")
    run = run_with_poles([], [])
    row = " 1 0     1S   1( 1.00)       -0.47721       -0.47{}        {}\n"
    head = "---- Testing the pseudopotential ----\n"
    good, bad = (head + row.format(*p) for p in (("721", "0.00000"), ("221", "-0.00500")))
    ld1.check_atom(recipe, ld1.Ld1Run("", good, run.all_electron, run.pseudo))
    with pytest.raises(ld1.PseudoError, match="1s"):
        ld1.check_atom(recipe, ld1.Ld1Run("", bad, run.all_electron, run.pseudo))
    with pytest.raises(ld1.PseudoError, match="did not test"):
        ld1.check_atom(recipe, ld1.Ld1Run("", "", run.all_electron, run.pseudo))


def test_failure_shows_the_programs_own_words(tmp_path):
    fake = tmp_path / "ld1.x"
    fake.write_text(
        "#!/bin/sh\necho ' %%%%%%'\necho ' Error in routine pseudovloc (1):'\necho ' rcloc too large'\nexit 3\n"
    )
    fake.chmod(0o755)
    with pytest.raises(ld1.PseudoError, match=re.escape("C: ") + ".*ended with 3.*rcloc too large"):
        ld1.run_ld1(load_recipe("C"), str(fake))


def test_silence_and_absence_are_errors(tmp_path):
    silent = tmp_path / "silent.x"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    with pytest.raises(ld1.PseudoError, match=r"wrote no out\.upf"):
        ld1.run_ld1(load_recipe("C"), str(silent))
    with pytest.raises(ld1.PseudoError, match="no such program"):
        ld1.run_ld1(load_recipe("C"), str(tmp_path / "absent.x"))
    slow = tmp_path / "slow.x"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    with pytest.raises(ld1.PseudoError, match="stopped after"):
        ld1.run_ld1(load_recipe("C"), str(slow), timeout=0.3)


@pytest.mark.dft
@needs_ld1
def test_real_failure_is_explained(monkeypatch):
    monkeypatch.setattr(ld1, "ld1_input", lambda recipe: "&input\n zed = 'x'\n/\n")
    with pytest.raises(ld1.PseudoError, match="Error in routine ld1_readin"):
        ld1.run_ld1(load_recipe("C"))
