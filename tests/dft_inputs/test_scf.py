"""Where a self-consistent run is heading: judged on lines that pw.x prints."""

import math

import pytest

from aiida_argonaut.dft_inputs.scf import accuracies, hopeless, slope, steps_left

STEP = """     iteration # {n:2d}     ecut=    40.00 Ry     beta= 0.40
     total cpu time spent up to now is        0.3 secs
     total energy              =     -14.37 Ry
     estimated scf accuracy    <       {accuracy} Ry
"""


def printed(values):
    return "     Self-consistent Calculation\n" + "".join(
        STEP.format(n=n, accuracy=f"{value:.8f}" if value > 1e-5 else f"{value:.1E}") for n, value in enumerate(values)
    )


def test_accuracies_are_those_of_the_last_run():
    text = printed([1.0, 0.5]) + printed([0.1, 2e-3, 3.4e-7])
    assert accuracies(text) == [0.1, 2e-3, 3.4e-7]
    assert accuracies("nothing") == []
    assert accuracies("estimated scf accuracy    <       ******** Ry") == []


@pytest.mark.parametrize("decades", [-1.0, -0.25, 0.0, 0.1])
def test_slope_is_in_decades_per_step(decades):
    assert slope([10 ** (decades * n) for n in range(20)]) == pytest.approx(decades, abs=1e-12)


def test_steps_left_to_the_threshold():
    assert steps_left([1.0, 1e-1, 1e-2], 1e-8) == pytest.approx(6)
    assert steps_left([1e-9], 1e-8) == 0.0
    assert steps_left([1.0, 1.0], 1e-8) == math.inf
    assert steps_left([], 1e-8) == math.inf


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10 ** (-0.2 * n) for n in range(30)], False),
        ([10 ** (-0.1 * n) for n in range(40)], False),
        ([1e-2 * (2 + (-1) ** n) for n in range(30)], True),
        ([1e-2] * 24, False),
        ([10 ** (0.05 * n) for n in range(40)], True),
        ([10 ** (-0.001 * n) for n in range(40)], True),
    ],
    ids=["falls fast", "falls slowly", "goes up and down", "has only begun", "rises", "crawls"],
)
def test_only_what_goes_nowhere_is_hopeless(values, expected):
    assert hopeless(values, 1e-7, 80) is expected
