"""What is refused before anything is submitted: pseudopotentials that are not whole."""

import io

import pytest

from aiida_argonaut.dft_inputs.pseudos.upf import is_cut_off

WHOLE = '<UPF version="2.0.1">\n<PP_HEADER element="H" z_valence="1.0"/>\n' + 400 * "0.1 " + "\n</UPF>\n"


def test_only_the_end_tells_that_a_file_is_whole():
    assert not is_cut_off(WHOLE)
    assert is_cut_off(WHOLE[:-10])
    assert is_cut_off(WHOLE[: len(WHOLE) // 2])
    assert not is_cut_off("<PP_HEADER>\n0 Version Number\n</PP_HEADER>\n"), "version 1 has no such end"


def test_a_family_with_a_file_that_is_cut_off_is_refused(profile):
    from aiida.plugins import DataFactory, GroupFactory

    from aiida_argonaut.workflows.label_settings import family_pseudos
    from aiida_argonaut.workflows.setup import SetupError

    upf = DataFactory("pseudo.upf")
    nodes = [
        upf(io.BytesIO(text.encode()), filename=f"{element}.upf").store()
        for element, text in (("H", WHOLE), ("He", WHOLE.replace('"H"', '"He"')[:-10]))
    ]
    family = GroupFactory("pseudo.family")(label="mended-badly").store()
    family.add_nodes(nodes)
    assert set(family_pseudos(family, ["H"])) == {"H"}
    with pytest.raises(SetupError, match=r"'mended-badly': the file of He, He.upf, ends in the middle"):
        family_pseudos(family, ["H", "He"])
    with pytest.raises(SetupError, match="no pseudopotential for Li"):
        family_pseudos(family, ["H", "Li"])
