"""The commands a person types."""

import pytest
from click.testing import CliRunner

from aiida_argonaut.dft_inputs.pseudos import command
from aiida_argonaut.dft_inputs.pseudos.atom import AtomCheck
from aiida_argonaut.dft_inputs.pseudos.ld1 import PseudoError
from aiida_argonaut.dft_inputs.pseudos.recipes import RecipeError, family_label


def call(*arguments):
    return CliRunner().invoke(command.pseudos, [str(a) for a in arguments])


def test_table_lists_every_element():
    done = call("table")
    assert done.exit_code == 0
    assert len(done.output.splitlines()) == 19
    assert family_label() in done.output


def test_label_and_unknown_element():
    assert call("label", "--elements", "H,C").output.strip() == family_label(["H", "C"])
    done = call("label", "--elements", "H,Xx")
    assert isinstance(done.exception, RecipeError)


def test_table_says_what_is_missing(tmp_path):
    done = call("table", tmp_path, "--elements", "H")
    assert done.exit_code == 0
    assert "H.upf" in done.output


def test_build_failure_is_exit_1(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise PseudoError("C: ld1.x ended with 3")

    monkeypatch.setattr(command, "build_family", fail)
    done = call("build", "-o", tmp_path / "family", "--elements", "C")
    assert done.exit_code == 1
    assert "ended with 3" in done.output


@pytest.mark.parametrize(("pw_energy", "code"), [(-12.48, 0), (-11.0, 1)])
def test_check_verdict(tmp_path, monkeypatch, pw_energy, code):
    monkeypatch.setattr(command, "check_atom_energy", lambda recipe, *_: AtomCheck(recipe.element, -12.488, pw_energy))
    done = call("check", tmp_path, "--elements", "H")
    assert done.exit_code == code
    assert ("TOO LARGE" in done.output) == bool(code)
