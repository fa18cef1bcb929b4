"""Errors against hand-made ones, frames named by file and index, and pictures that hold what they should."""

import dataclasses
import json

import ase.io
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from aiida_argonaut.mlip.baseline import Baseline
from aiida_argonaut.mlip.cli.evaluate import evaluate as command
from aiida_argonaut.mlip.cli.evaluate import table
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.dataset import Dataset
from aiida_argonaut.mlip.evaluate import metrics, predict, sizes, worst
from aiida_argonaut.mlip.evaluate_plot import draw_parity
from aiida_argonaut.mlip.evaluation_frames import Place, read_evaluation_frames
from aiida_argonaut.mlip.frames import Configuration, FrameError, LabelledFrame, Origin, write_frames
from aiida_argonaut.mlip.potential import get_architecture
from aiida_argonaut.mlip.predictions import Prediction, read_predicted
from aiida_argonaut.mlip.units import GPA

REFERENCES = {1: -13.0, 8: -430.0}


def frame(numbers, seed, source="packing", stress=True, energy=-10.0):
    random = np.random.default_rng(seed)
    n = len(numbers)
    configuration = Configuration(numbers, random.random((n, 3)) * 4, np.eye(3) * 5, origin=Origin(source))
    tension = random.normal(size=(3, 3)) if stress else None
    tension = None if tension is None else 0.01 * (tension + tension.T)
    return LabelledFrame(configuration, energy, random.normal(size=(n, 3)), tension, "p")


def shifted(label, energy=0.0, force=(0.0, 0.0, 0.0), stress=0.0, deviation=0.1):
    """A prediction that misses a label by eV, eV/Å and GPa."""
    n = len(label)
    tension = None if label.stress is None else label.stress + stress * GPA * np.eye(3)
    return Prediction(label.energy + energy, 0.0, label.forces + np.array(force), tension, np.full(n, deviation))


@pytest.fixture
def model(tmp_path):
    architecture = get_architecture("teanet")
    config = dataclasses.replace(
        architecture.preset("campaign"), n_blocks=2, scalar_width=12, bond_width=4, vector_width=4, cutoff=3.0
    )
    members = tuple(architecture.init(config, torch.Generator().manual_seed(k)) for k in range(2))
    Committee(architecture, "campaign", config, Baseline(tuple(REFERENCES.items())), members).save(tmp_path / "model")
    return tmp_path / "model"


def test_errors_are_those_that_were_made():
    labels = [frame([1, 1], 0), frame([1, 8, 1, 8], 1, "dynamics"), frame([8], 2, stress=False)]
    predictions = [
        shifted(labels[0], energy=0.2, force=(0.03, 0, 0.04)),
        shifted(labels[1], energy=-0.4, stress=3.0),
        shifted(labels[2], energy=0.0, force=(0, 0.1, 0)),
    ]
    found = metrics(predictions, labels, 1)
    assert found["energy_mev_per_atom"]["mae"] == pytest.approx(200 / 3)
    assert found["energy_mev_per_structure"]["mae"] == pytest.approx(200)
    assert found["energy_mev_per_structure"]["rmse"] == pytest.approx(1e3 * np.sqrt((0.04 + 0.16) / 3))
    assert found["force_vector_mev_per_angstrom"]["mae"] == pytest.approx((50 + 50 + 100) / 7)
    assert found["force_mev_per_angstrom"]["mae"] == pytest.approx((70 + 70 + 100) / 21)
    assert found["force_per_element"]["H"]["mae"] == pytest.approx(140 / 12)
    assert found["force_per_element"]["O"]["mae"] == pytest.approx(100 / 9)
    assert found["stress_gpa"]["mae"] == pytest.approx(3.0 * 3 / 18)
    assert found["per_source"]["dynamics"]["n_frames"] == 1
    assert found["per_source"]["dynamics"]["stress_gpa"]["mae"] == pytest.approx(1.0)
    assert found["force_per_source"]["packing"]["mae"] == pytest.approx(240 / 9)
    assert list(found["per_n_atoms"]) == ["1", "2", "4"]
    assert found["per_n_atoms"]["1"]["stress_gpa"] is None
    assert found["per_n_atoms"]["4"]["energy_mev_per_atom"]["mae"] == pytest.approx(100)
    assert "deviation" not in found


def test_many_sizes_are_put_together():
    assert sizes([3, 5, 3]) == ["3", "5", "3"]
    assert sizes(list(range(1, 18))) == ["1", "2", *["3-4"] * 2, *["5-8"] * 4, *["9-16"] * 8, "17-32"]
    labels = [frame([1] * n, n, stress=False) for n in range(17, 0, -1)]
    found = metrics([shifted(label) for label in labels], labels, 1)
    assert list(found["per_n_atoms"]) == ["1", "2", "3-4", "5-8", "9-16", "17-32"]


def test_the_worst_frames_are_named():
    labels = [frame([1, 8], seed) for seed in range(20)]
    predictions = [shifted(label, energy=-0.01 * k, force=(0.01 * (19 - k), 0, 0)) for k, label in enumerate(labels)]
    found = worst(predictions, labels, [Place("data.xyz", 100 + k) for k in range(20)])
    assert [row["index"] for row in found["by_force"]] == list(range(100, 110))
    assert [row["index"] for row in found["by_energy"]] == list(range(119, 109, -1))
    first = found["by_energy"][0]
    assert (first["file"], first["formula"], first["source"], first["n_atoms"]) == ("data.xyz", "HO", "packing", 2)
    assert first["energy_error_mev_per_atom"] == pytest.approx(-95.0)
    assert found["by_force"][0]["force_rmse_mev_per_angstrom"] == pytest.approx(190 / np.sqrt(3))


def test_chunks_of_predictions_are_the_predictions(model, monkeypatch):
    labels = [frame([1, 8], seed) for seed in range(5)]
    committee, done = Committee.load(model, dtype="float64"), []
    whole = predict(committee, labels)
    monkeypatch.setattr("aiida_argonaut.mlip.evaluate.CHUNK", 2)
    parts = predict(committee, labels, done.append)
    assert done == [2, 4, 5]
    assert [p.energy for p in parts] == pytest.approx([p.energy for p in whole], abs=1e-9)


def foreign(path, *molecules):
    """Plain extended XYZ of somebody else: no source, no protocol."""
    for k, symbols in enumerate(molecules):
        atoms = ase.Atoms(symbols, np.random.default_rng(k).random((len(ase.Atoms(symbols)), 3)) * 3)
        atoms.arrays["forces"] = np.zeros((len(atoms), 3))
        atoms.info["energy"] = -1.0
        ase.io.write(path, atoms, format="extxyz", append=True)
    return path


def test_several_files_of_several_kinds(model, tmp_path):
    labels = [frame([1, 8], 0), frame([1, 1, 8], 1)]
    write_frames(tmp_path / "own.extxyz", labels)
    Dataset(tuple(labels)).save(tmp_path / "set")
    theirs = foreign(tmp_path / "theirs.xyz", "OH2", "H2", "OSi")
    data = [str(tmp_path / name) for name in ("own.extxyz", "set", "theirs.xyz")]
    refused = CliRunner().invoke(command, [str(model), *data])
    assert isinstance(refused.exception, FrameError)
    assert f"{theirs}, frame 2: the model does not know Si; it was trained on H, O" in str(refused.exception)
    done = CliRunner().invoke(command, [str(model), *data, "--skip-unknown", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "1 frames with elements the model does not know (Si in 1)" in done.output
    assert "2 frames that occurred before" in done.output
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["n_frames"] == 4
    assert set(found["per_source"]) == {"packing", "theirs"}
    assert found["left_out"]["unknown_elements"] == 1
    assert {(row["file"], row["index"]) for row in found["worst"]["by_force"]} == {
        (data[0], 0), (data[0], 1), (data[2], 0), (data[2], 1)
    }  # fmt: skip
    assert len(read_predicted(tmp_path / "out" / "predictions.extxyz")) == 4
    picture = np.asarray(Image.open(tmp_path / "out" / "parity.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\nProperties=species:S:1:pos:R:3 energy=1 pbc='F F F'\nH 0 0 0\n", "frame 0.*no forces"),
        ("1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=nan pbc='F F F'\nH 0 0 0 0 0 0\n", "frame 0.*NaN"),
        ("1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1 pbc='T F F'\nH 0 0 0 0 0 0\n", "frame 0.*directions"),
        ("", "bad.xyz"),
    ],
)
def test_bad_frames_are_named(text, said, tmp_path):
    (tmp_path / "bad.xyz").write_text(text)
    with pytest.raises(FrameError, match=said):
        read_evaluation_frames([tmp_path / "bad.xyz"], [1, 8])


def test_contradicting_labels_and_nothing_left_are_refused(tmp_path):
    write_frames(tmp_path / "one.extxyz", [frame([1, 8], 0)])
    write_frames(tmp_path / "two.extxyz", [frame([1, 8], 0, energy=-11.0)])
    with pytest.raises(FrameError, match=r"one.extxyz, frame 0 and .*two.extxyz, frame 0: HO: the same configuration"):
        read_evaluation_frames([tmp_path / "one.extxyz", tmp_path / "two.extxyz"], [1, 8])
    with pytest.raises(FrameError, match="all 1 frames have elements the model does not know"):
        read_evaluation_frames([tmp_path / "one.extxyz"], [1], skip_unknown=True)


@pytest.mark.parametrize(("n", "stress", "panels"), [(3, True, 4), (3, False, 3), (600, True, 4)])
def test_panels_have_units_errors_and_all_points(n, stress, panels):
    labels = [frame([1, 8], seed, stress=stress) for seed in range(n)]
    predictions = [shifted(label, energy=0.02, force=(0.03, 0, 0), stress=0.5) for label in labels]
    figure = draw_parity(labels, predictions, REFERENCES)
    axes = [axes for axes in figure.axes if axes.get_xlabel()]
    assert len(axes) == panels
    assert "MAE 10, RMSE 10 meV/atom" in axes[0].get_title()
    assert "MAE 10, RMSE 17.3 meV/Å" in axes[1].get_title()
    assert "eV/Å" in axes[1].get_xlabel()
    drawn = sum(c.get_array().sum() for c in axes[1].collections) if n > 3 else len(axes[1].lines[0].get_xdata())
    assert drawn == 6 * n
    for each in axes:
        assert each.get_xlim() == each.get_ylim()


def test_the_table_shows_groups_only_where_there_are_some():
    labels = [frame([1, 8], seed) for seed in range(2)]
    text = table(metrics([shifted(label) for label in labels], labels, 1))
    assert "MAE by" not in text
    labels.append(frame([1, 8, 8], 5, "dynamics"))
    text = table(metrics([shifted(label) for label in labels], labels, 2))
    assert text.count("MAE by") == 2
    assert "dynamics" in text
