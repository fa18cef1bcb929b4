"""Property regression: that it learns, resumes bit for bit, keeps formulas together, and its folder."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aiida_argonaut.mlip.committee import Committee, CommitteeError
from aiida_argonaut.mlip.frames import Configuration
from aiida_argonaut.mlip.model_folder import ModelFilesError
from aiida_argonaut.mlip.models import leignn, potnet
from aiida_argonaut.mlip.potential import Architecture
from aiida_argonaut.mlip.property_data import PropertyData, PropertyEntry, Target
from aiida_argonaut.mlip.property_model import PropertyModel, is_property_model, property_metrics, train_property
from aiida_argonaut.mlip.property_training import PropertyPlan, PropertySettings, one_cycle, split
from aiida_argonaut.mlip.train_settings import TrainingError, TrainingPaused

SMALL = replace(potnet.PUBLISHED, n_layers=1, scalar_width=16, n_basis=16, infinite_basis=16)
POTNET = Architecture("potnet", {"published": SMALL}, potnet.init, potnet.energy, False, regression=potnet.regression)
LEIGNN = Architecture(
    "leignn", {"campaign": leignn.LeignnConfig(1, 8, 4, cutoff=4.0)}, leignn.init, leignn.energy, vectors_only=True
)
SETTINGS = PropertySettings(Target("gap", "eV"), epochs=30, batch_size=8, learning_rate=5e-3, records=10)


@pytest.fixture(scope="module")
def data():
    """Crystals of three elements whose value is the share of fluorine."""
    random, entries = np.random.default_rng(0), []
    for index in range(48):
        n = int(random.integers(1, 5))
        numbers = random.choice([3, 8, 9], n)
        cell = np.eye(3) * (12.0 * n) ** (1 / 3) + 0.1 * random.normal(size=(3, 3))
        value = float((numbers == 9).mean()) + 5.0
        entries.append(PropertyEntry(Configuration(numbers, random.random((n, 3)) @ cell, cell), value, f"id-{index}"))
    return PropertyData(tuple(entries), {"no value": 2}, ("here",))


def trained(data, architecture=POTNET, preset="published", settings=SETTINGS, **options):
    plan = PropertyPlan(data, architecture, preset, settings, torch.device("cpu"))
    return plan, train_property(plan, 3, options.pop("n_members", 1), {"data": ["here"]}, **options)


@pytest.fixture(scope="module")
def learned(data):
    return trained(data, n_members=2)


def test_a_simple_property_is_learned(data, learned):
    plan, model = learned
    unseen = [data.entries[index] for index in plan.validation]
    errors = property_metrics(model.predict([entry.configuration for entry in unseen]), unseen)
    assert errors["mae"] < 0.3 * errors["mean_absolute_deviation"]
    assert [member["seed"] for member in model.card["members"]] == [3, 4]
    assert model.card["n_training"] + model.card["n_validation"] == 48
    assert errors["deviation"] > 0
    reported = model.card["members"][0]["best"]["validation_mae"]
    assert min(line["validation_mae"] for line in model.metrics if line["member"] == 0) == reported


def test_any_architecture_may_learn_a_property(data):
    plan, model = trained(data, LEIGNN, "campaign")
    unseen = [data.entries[index] for index in plan.validation]
    errors = property_metrics(model.predict([entry.configuration for entry in unseen]), unseen)
    assert errors["mae"] < 0.7 * errors["mean_absolute_deviation"]
    assert errors["deviation"] is None


def test_batch_normalisations_have_seen_the_data(learned):
    (first, _), start = learned[1].members, potnet.init(SMALL, torch.Generator().manual_seed(3))
    assert float((first["layer0.norm_mean"] - start["layer0.norm_mean"]).abs().max()) > 1e-3
    assert float(first["layer0.norm_log_variance"].abs().max()) > 1e-2


def test_paused_and_resumed_is_uninterrupted(data, learned, tmp_path):
    short = replace(SETTINGS, epochs=4)
    _, whole = trained(data, settings=short)
    told = []
    while True:
        try:
            deadline = time.monotonic() + 0.05
            _, parts = trained(data, settings=short, checkpoints=tmp_path, deadline=deadline)
            break
        except TrainingPaused as pause:
            told.append(pause.progress)
    assert len(told) >= 2
    assert told == sorted(told)
    assert {name: weight.tolist() for name, weight in parts.members[0].items()} == {
        name: weight.tolist() for name, weight in whole.members[0].items()
    }


def test_another_training_is_not_resumed(data, tmp_path):
    with pytest.raises(TrainingPaused):
        trained(data, checkpoints=tmp_path, deadline=0.0)
    with pytest.raises(ValueError, match="belongs to a training with other data, settings or seed"):
        trained(data, settings=replace(SETTINGS, batch_size=9), checkpoints=tmp_path)


def test_a_budget_ends_it(data):
    _, model = trained(data, settings=replace(SETTINGS, epochs=10**6), budget=1.0)
    assert model.metrics[-1]["progress"] == 1
    assert model.card["members"][0]["steps"] < 10**6


def test_formulas_stay_together(data):
    training, validation = split(data.entries, SETTINGS)
    formulas = [{data.entries[k].configuration.formula for k in part} for part in (training, validation)]
    assert not formulas[0] & formulas[1]
    assert len(validation) >= 5
    assert sorted(training + validation) == list(range(48))
    _, apart = split(data.entries, replace(SETTINGS, split="structure"))
    assert len(apart) == 5
    assert split(data.entries, replace(SETTINGS, split_seed=1))[1] != validation


def test_one_formula_cannot_be_split(data):
    alike = [entry for entry in data.entries if entry.configuration.formula == "Li"]
    with pytest.raises(TrainingError, match="of 1 formulas: nothing is left to train on; give more, or say `split"):
        split(alike, SETTINGS)


def test_rate_rises_and_falls():
    rates = [one_cycle(1e-3, progress) for progress in (0.0, 0.3, 1.0)]
    assert rates == pytest.approx([4e-5, 1e-3, 4e-9])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs 0: expected a positive number"),
        ({"validation_fraction": 1.0}, "expected a number between 0 and 1"),
        ({"split": "random"}, "split 'random': expected formula or structure"),
    ],
)
def test_settings_are_refused(change, message):
    with pytest.raises(TrainingError, match=message):
        replace(SETTINGS, **change)


def test_what_is_not_finite_is_said(data):
    wild = replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(TrainingError, match="seed 3: the error is not finite at step"):
        trained(data, settings=wild)


def test_saved_and_loaded(data, learned, tmp_path):
    _, model = learned
    model.save(tmp_path)
    assert is_property_model(tmp_path)
    again = PropertyModel.load(tmp_path)
    some = [entry.configuration for entry in data.entries[:5]]
    assert np.array_equal(again.predict(some), model.predict(some))
    assert (again.target, again.scaling, again.config) == (model.target, model.scaling, model.config)
    with pytest.raises(CommitteeError, match="a property regression, without energies and forces"):
        Committee.load(tmp_path)


def spoilt(folder, change):
    path = folder / "property.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=9), "has format 9, this version reads 1"),
        (lambda d: d.pop("target"), "lacks the key 'target'"),
        (lambda d: d["config"].pop("cutoff"), "lacks the key 'cutoff'"),
        (lambda d: d["config"].update(scalar_width=8), "has shape"),
        (lambda d: d.update(n_members=3), "not those of 3 members"),
        (lambda d: d["scaling"].update(mean="much"), "scaling: mean"),
        (lambda d: d["config"].update(scalar_width=10**9), "expected 4096 at most"),
        (lambda d: d.update(n_members=10**12), "n_members"),
        (lambda d: d.update(architecture="nothing"), "no architecture 'nothing'"),
    ],
)
def test_a_foreign_folder_is_refused(learned, tmp_path, change, message):
    learned[1].save(tmp_path)
    spoilt(tmp_path, change)
    with pytest.raises(ModelFilesError, match=message):
        PropertyModel.load(tmp_path)


def test_weights_that_are_not_numbers_are_refused(learned, tmp_path):
    learned[1].save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["member.0/out"][0] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelFilesError, match=r"'member\.0/out' has shape .* NaN"):
        PropertyModel.load(tmp_path)
