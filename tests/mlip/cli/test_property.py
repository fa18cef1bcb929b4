"""`argonaut train` with a target, and `argonaut evaluate` with its model, as typed."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_argonaut.mlip.cli.evaluate import evaluate
from aiida_argonaut.mlip.cli.train import train

CONFIG = "target: {name: optb88vdw_bandgap, unit: eV}\nepochs: 2\nbatch_size: 4\nrecords: 2\nsplit: structure\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of JARVIS-DFT's form, and settings."""
    random, path = np.random.default_rng(0), tmp_path_factory.mktemp("property")
    entries = [
        {
            "jid": f"JVASP-{index}",
            "atoms": {
                "lattice_mat": (3.5 * np.eye(3)).tolist(),
                "coords": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.4 + 0.02 * index]],
                "elements": ["Li", "Cl" if index % 2 else "F"] if index else ["Fe", "Cl"],
                "cartesian": False,
            },
            "optb88vdw_bandgap": "na" if index == 1 else float(random.random()),
        }
        for index in range(10)
    ]
    (path / "jdft.json").write_text(json.dumps(entries))
    (path / "gap.yaml").write_text(CONFIG)
    return path


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_property_is_trained_and_judged(folder):
    model, errors = folder / "model", folder / "errors"
    result = run(train, folder / "jdft.json", "-o", model, "--config", folder / "gap.yaml", "--seed", 1)
    assert result.exit_code == 0, result.output
    assert "8 structures; left out: 1 elements beyond Ar, 1 no value" in result.output
    assert "1 member of potnet/published for optb88vdw_bandgap, 8 structures; validation MAE" in result.output
    expected = {"card.json", "learning_curve.png", "metrics.jsonl", "model.safetensors", "property.json"}
    assert {path.name for path in model.iterdir()} == expected
    told = run(evaluate, model, folder / "jdft.json", "-o", errors)
    assert told.exit_code == 0, told.output
    assert "8 structures, optb88vdw_bandgap in eV" in told.output
    rows = list(csv.DictReader((errors / "predictions.csv").open()))
    metrics = json.loads((errors / "metrics.json").read_text())
    found = np.array([float(row["predicted"]) - float(row["optb88vdw_bandgap"]) for row in rows])
    assert metrics["mae"] == pytest.approx(np.abs(found).mean())
    assert metrics["left_out"] == {"elements beyond Ar": 1, "no value": 1}
    assert (errors / "parity.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--elements", "H"], "--elements is for potentials"),
        (["--cache", "here"], "--cache is for potentials"),
        (["--skip-bad"], "--skip-bad is for potentials"),
    ],
)
def test_options_of_potentials_are_refused(folder, tmp_path, arguments, message):
    config = ("--config", folder / "gap.yaml")
    result = run(train, folder / "jdft.json", "-o", tmp_path / "m", *config, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("target: {name: bandgap}\n", "bandgap"),
        ("target: {nam: optb88vdw_bandgap}\n", "unknown key 'nam'"),
        ("target: {name: optb88vdw_bandgap}\nsteps: 3\n", "unknown key 'steps'"),
    ],
)
def test_targets_that_cannot_be_learned(folder, tmp_path, config, message):
    (tmp_path / "t.yaml").write_text(config)
    result = run(train, folder / "jdft.json", "-o", tmp_path / "m", "--config", tmp_path / "t.yaml")
    assert result.exit_code != 0
    assert message in f"{result.output} {result.exception}"
    assert not (tmp_path / "m").exists()
