"""Predicted frames: what is written is read back, and a frame without predictions is refused by name."""

import numpy as np
import pytest

from aiida_argonaut.mlip.frames import Configuration, FrameError, Origin, write_configurations
from aiida_argonaut.mlip.predictions import PredictedFrame, Prediction, read_predicted, write_predicted


def frame(seed, stress=True, **info):
    rng = np.random.default_rng(seed)
    configuration = Configuration(
        rng.integers(1, 19, 5), rng.random((5, 3)) * 6, np.eye(3) * 6, origin=Origin("x", "1")
    )
    tension = rng.normal(size=(3, 3))
    prediction = Prediction(-3.0, 0.0, rng.normal(size=(5, 3)), tension + tension.T if stress else None, rng.random(5))
    return PredictedFrame(configuration, prediction, info)


def test_round_trip(tmp_path):
    frames = [frame(1, trajectory=3, step=50, temperature=456.789), frame(2, stress=False), frame(3, arm="random")]
    write_predicted(tmp_path / "f.extxyz", iter(frames))
    for one, two in zip(frames, read_predicted(tmp_path / "f.extxyz"), strict=True):
        assert one.configuration.configuration_id == two.configuration.configuration_id
        assert one.configuration.origin == two.configuration.origin
        assert one.info == two.info
        assert (one.prediction.energy, one.prediction.energy_deviation) == (-3.0, 0.0)
        assert two.prediction.forces == pytest.approx(one.prediction.forces, abs=1e-8)
        assert two.prediction.force_deviation == pytest.approx(one.prediction.force_deviation, abs=1e-8)
        if one.prediction.stress is None:
            assert two.prediction.stress is None
        else:
            assert two.prediction.stress == pytest.approx(one.prediction.stress, abs=1e-8)


def test_single_atom_round_trip(tmp_path):
    configuration = Configuration(np.array([4]), np.zeros((1, 3)), np.eye(3) * 3)
    prediction = Prediction(1.0, 0.5, np.zeros((1, 3)), None, np.array([0.25]))
    write_predicted(tmp_path / "f.extxyz", [PredictedFrame(configuration, prediction)])
    (back,) = read_predicted(tmp_path / "f.extxyz")
    assert back.prediction.force_deviation_max == 0.25


def test_frames_without_predictions_are_named(tmp_path):
    write_configurations(tmp_path / "bare.extxyz", [frame(1).configuration])
    with pytest.raises(FrameError, match=r"bare\.extxyz, frame 0: no stored prediction .committee_energy"):
        read_predicted(tmp_path / "bare.extxyz")


def test_wrong_shapes_are_refused():
    good = frame(1)
    with pytest.raises(FrameError, match=r"expected \(5, 3\) and \(5,\)"):
        PredictedFrame(good.configuration, Prediction(0.0, 0.0, np.zeros((4, 3)), None, np.zeros(5)))
