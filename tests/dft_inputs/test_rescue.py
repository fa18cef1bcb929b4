"""The ladder: every rung in its turn, and the last one at the nominal protocol."""

import copy

import pytest

from aiida_argonaut.dft_inputs.protocol import load_protocol, pw_parameters
from aiida_argonaut.dft_inputs.rescue import RUNGS, next_rung, off_nominal

STUCK = [1e-2] * 60
SLOW = [10 ** (-0.06 * n) for n in range(80)]


def nominal(spin="none"):
    return pw_parameters(load_protocol("fast", {"spin": spin}), ["Li", "H"], ["Li", "H"], (40, 200), keep_files=True)


def climbed(parameters, accuracies=STUCK, converging=()):
    """Names of all rungs, if only those named in `converging` become self-consistent."""
    tried, converged = [], False
    while True:
        rung = next_rung(parameters, tried, converged, accuracies, 8, has_density=True)
        if rung is None:
            return tried
        tried.append(rung.name)
        converged = rung.name in converging


def test_the_whole_ladder_in_its_order():
    assert climbed(nominal()) == ["local_tf", "diagonalization", "more_bands", "wide_smearing"]
    assert climbed(nominal("collinear")) == ["local_tf", "diagonalization", "more_bands", "wide_smearing", "moments"]


def test_what_converges_slowly_goes_on_first():
    assert climbed(nominal(), SLOW)[:2] == ["more_steps", "local_tf"]
    assert next_rung(nominal(), [], False, SLOW, 8, has_density=False).name == "local_tf"


def test_a_wide_smearing_is_not_the_end():
    assert climbed(nominal(), converging=["wide_smearing"])[-2:] == ["wide_smearing", "nominal"]
    assert climbed(nominal(), converging=["wide_smearing", "nominal"])[-1] == "nominal"


@pytest.mark.parametrize("name", ["local_tf", "more_bands", "nominal"])
def test_what_converged_is_done(name):
    assert next_rung(nominal(), [name], True, STUCK, 8, has_density=True) is None


@pytest.mark.parametrize("spin", ["none", "collinear"])
def test_only_the_wide_smearing_leaves_the_protocol(spin):
    asked, before = nominal(spin), copy.deepcopy(nominal(spin))
    tried, changed = [], {}
    while (rung := next_rung(asked, tried, tried[-1:] == ["wide_smearing"], STUCK, 8, has_density=True)) is not None:
        changed[rung.name] = off_nominal(asked, rung.parameters(asked))
        tried.append(rung.name)
    assert set(tried) <= set(RUNGS)
    assert {name for name, different in changed.items() if different} == {"wide_smearing"}
    assert "degauss" in changed["wide_smearing"][0]
    assert asked == before, "a rung must not change what the next one starts from"


def test_the_number_of_bands_must_be_known():
    rung = next_rung(nominal(), ["diagonalization"], False, [], None, has_density=False)
    assert rung.name == "wide_smearing"


def test_a_number_that_storage_has_rounded_is_still_nominal():
    nominal = {"ELECTRONS": {"conv_thr": 3 * 1e-8}}
    assert off_nominal(nominal, {"ELECTRONS": {"conv_thr": float(f"{3 * 1e-8:.14g}")}}) == []
    assert off_nominal(nominal, {"ELECTRONS": {"conv_thr": 3.1e-8}}) != []
