"""Files that pw.x can read, that are the same on every day, and folders that a second run completes."""

import re
import shutil
from pathlib import Path

import pytest

from aiida_argonaut.dft_inputs.pseudos import build, upf
from aiida_argonaut.dft_inputs.pseudos.ld1 import PseudoError
from aiida_argonaut.dft_inputs.pseudos.recipes import load_recipe

needs_ld1 = pytest.mark.skipif(shutil.which("ld1.x") is None, reason="ld1.x is not installed")
NUMBERS = [f"{(-1) ** k * k * 1.2345678901234:.15E}" for k in range(60)]


def fake_upf(recipe, date="21Nov2026"):
    return (
        f'<UPF version="2.0.1">\n  <PP_INFO>\n    Generation date: {date}\n  </PP_INFO>\n'
        f'  <PP_HEADER author="argonaut recipe {recipe.hash}" date="{date}"\n'
        f'   element=" {recipe.element}" pseudo_type="PAW"\n'
        f'   z_valence="{recipe.valence:.4f}" total_psenergy="-17.5" wfc_cutoff="40.1" rho_cutoff="326.2" size="60"/>\n'
        f"  <PP_Q>\n {' '.join(NUMBERS)}\n  </PP_Q>\n</UPF>\n"
    )


def test_normalise_wraps_without_losing_a_number():
    text = upf.normalise(fake_upf(load_recipe("C")))
    body = re.search(r"<PP_Q>(.*)</PP_Q>", text, re.DOTALL)[1]
    assert body.split() == NUMBERS
    assert all(len(line.split()) <= 4 for line in body.splitlines())
    assert max(map(len, text.splitlines())) < 1000


def test_normalise_forgets_the_date_and_is_idempotent():
    recipe = load_recipe("C")
    monday, tuesday = (upf.normalise(fake_upf(recipe, date)) for date in ("21Nov2026", " 1Jan2027"))
    assert monday == tuesday == upf.normalise(monday)


def test_header_and_what_it_must_say():
    carbon = load_recipe("C")
    found = upf.check_upf(upf.normalise(fake_upf(carbon)), carbon)
    assert (found.element, found.valence, found.total_energy, found.density_cutoff) == ("C", 4.0, -17.5, 326.2)
    text = upf.normalise(fake_upf(carbon))
    with pytest.raises(PseudoError, match="element"):
        upf.check_upf(text.replace('element=" C"', 'element=" N"'), carbon)
    with pytest.raises(PseudoError, match="total_psenergy"):
        upf.check_upf(text.replace('total_psenergy="-17.5"', ""), carbon)
    with pytest.raises(PseudoError, match="complete"):
        upf.check_upf(text.replace("</UPF>", ""), carbon)
    with pytest.raises(PseudoError, match="too long"):
        upf.check_upf(fake_upf(carbon), carbon)


def test_interrupted_build_is_finished(tmp_path, monkeypatch):
    made = []

    def fake_build(recipe, executable, timeout):
        made.append(recipe.element)
        if recipe.element == "O" and made.count("O") == 1:
            raise PseudoError("O: ld1.x was hit by a stone")
        return upf.normalise(fake_upf(recipe))

    monkeypatch.setattr(build, "build_upf", fake_build)
    folder = tmp_path / "family"
    with pytest.raises(PseudoError, match=r"1 of 3.*stone"):
        build.build_family(folder, ["H", "C", "O"])
    assert sorted(p.name for p in folder.iterdir()) == ["C.upf", "H.upf"]
    (folder / "C.upf").write_text((folder / "C.upf").read_text()[:200])
    reports = {}
    paths = build.build_family(folder, ["H", "C", "O"], report=reports.__setitem__)
    assert reports == {"H": "kept", "C": "built", "O": "built"}
    assert list(paths) == ["H", "C", "O"]
    assert sorted(p.name for p in folder.iterdir()) == ["C.upf", "H.upf", "O.upf"]
    assert [p.name for p in tmp_path.iterdir()] == ["family"], "no temporary file stays behind"


def test_file_of_another_recipe_is_not_current(tmp_path):
    path = tmp_path / "C.upf"
    path.write_text(upf.normalise(fake_upf(load_recipe("C"))))
    assert build.is_current(path, load_recipe("C"))
    path.write_text(path.read_text().replace(load_recipe("C").hash, "00000000"))
    assert not build.is_current(path, load_recipe("C"))


@pytest.mark.dft
@needs_ld1
def test_real_family_is_readable_complete_and_deterministic(tmp_path):
    elements = ["H", "Li", "Si"]
    first = build.build_family(tmp_path / "a", elements)
    second = build.build_family(tmp_path / "b", elements)
    for element in elements:
        assert upf.md5(first[element]) == upf.md5(second[element])
        text = Path(first[element]).read_text()
        assert max(map(len, text.splitlines())) < 1000
        found = upf.check_upf(text, load_recipe(element))
        assert found.total_energy < 0
        assert not re.search(r"\d\d?[A-Z][a-z]{2}20\d\d", text), "a date would change the md5"
