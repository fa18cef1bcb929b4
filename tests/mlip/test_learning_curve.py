"""The curve shows what the lines hold, and lines that hold too little are no reason to fail."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from aiida_argonaut.mlip.cli.learning_curve import learning_curve
from aiida_argonaut.mlip.learning_curve import LearningCurveError, draw_learning_curve, read_metrics


def lines(member=0, n=30, **more):
    """Metrics as training writes them, errors falling as 1 / step."""
    return [
        {
            "member": member,
            "step": 10 * k,
            "seconds": 2.0 * k,
            "learning_rate": 0.01 / k,
            "train_loss": None if k == 1 else 5.0 / k,
            "validation_loss": 4.0 / k,
            "validation_energy_mae_mev_per_atom": 30.0 / k,
            "validation_force_mae_mev_per_angstrom": 900.0 / k,
            **{key: value(k) for key, value in more.items()},
        }
        for k in range(1, n + 1)
    ]


def panels(figure):
    return {axes.get_ylabel(): axes for axes in figure.axes}


def vertical(axes):
    """Places of vertical lines."""
    return [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]


def test_every_panel_holds_its_numbers():
    stressed = lines(1, validation_stress_mae_gpa=lambda k: 1.0 / k, energy_weight=lambda k: float(k))
    found = panels(draw_learning_curve(lines(0) + stressed))
    assert {"loss", "energy MAE, meV/atom", "force MAE, meV/Å", "stress MAE, GPa", "learning rate"} <= set(found)
    assert "energy weight (dashed)" in found
    curves = [line for line in found["force MAE, meV/Å"].get_lines() if len(line.get_xdata()) == 30]
    assert len(curves) == 2
    assert np.array_equal(curves[0].get_ydata(), 900.0 / np.arange(1, 31))
    training = [line for line in found["loss"].get_lines() if len(line.get_xdata()) == 29]
    assert len(training) == 2, "the training loss of the first line is not known"


def test_without_stress_there_is_no_panel_for_it():
    assert "stress MAE, GPa" not in panels(draw_learning_curve(lines()))


def test_rollbacks_are_marked_once():
    counted = lines(rollbacks=lambda k: (k > 5) + (k > 20))
    assert vertical(panels(draw_learning_curve(counted))["learning rate"]) == [12.0, 42.0]
    told = [*lines(n=4), {"member": 0, "event": "rollback", "step": 45, "seconds": 9.0}, *lines(n=6)[4:]]
    assert vertical(panels(draw_learning_curve(told))["learning rate"]) == [9.0]
    assert vertical(panels(draw_learning_curve(lines()))["learning rate"]) == []


@pytest.mark.parametrize("spoil", [{"validation_loss": float("nan")}, {"seconds": None}, {"train_loss": 0.0}])
def test_odd_lines_are_drawn_around(spoil):
    odd = [*lines(n=3), {**lines(n=4)[3], **spoil}]
    for given in (odd, odd[-1:]):
        draw_learning_curve(given).draw_without_rendering()


def test_nothing_to_draw_is_one_line(tmp_path):
    with pytest.raises(LearningCurveError, match="no line of the metrics has a step"):
        draw_learning_curve([{"loss": 1.0}])
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    with pytest.raises(LearningCurveError, match=r"metrics.jsonl, line 2: not valid JSON"):
        read_metrics(tmp_path / "metrics.jsonl")
    with pytest.raises(LearningCurveError, match=r"no.jsonl: cannot be read"):
        read_metrics(tmp_path / "no.jsonl")


def test_the_command_writes_a_picture(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines()))
    done = CliRunner().invoke(learning_curve, [str(tmp_path)])
    assert done.exit_code == 0, done.output
    picture = np.asarray(Image.open(tmp_path / "learning_curve.png").convert("L"))
    assert picture.shape[1] > 1000
    assert (picture < 200).sum() > 1000
