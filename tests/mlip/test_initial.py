"""A fine-tune starts exactly where the other model is, is never worse for it, and makes a committee like any other."""

import dataclasses

import ase.build
import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones

from aiida_argonaut.mlip.checkpoint import CheckpointError
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.dataset import Dataset
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame
from aiida_argonaut.mlip.initial import Initial, carried
from aiida_argonaut.mlip.model_files import ModelFilesError, merge_model_folders
from aiida_argonaut.mlip.plan import fit_baseline
from aiida_argonaut.mlip.training import TrainingError, TrainSettings, train_committee

QUICK = TrainSettings(steps=40, records=4, batch_size=4)
STILL = dataclasses.replace(QUICK, steps=1, learning_rate=1e-12)


def cells(n=12, seed=0, symbols=("Ar", "Ne"), atoms_energy=(-40.0, -30.0), protocol="one"):
    """Rattled cells of four Lennard-Jones atoms; `atoms_energy` (eV) is what an Ar and a Ne atom have alone."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = ase.build.bulk("Ar", "fcc", a=5.0 + random.random(), cubic=True)
        atoms.set_chemical_symbols(random.choice(symbols, 4))
        atoms.positions += 0.25 * random.normal(size=(4, 3))
        atoms.calc = LennardJones(epsilon=0.1, sigma=3.4, rc=9.0)
        alone = sum(atoms_energy[0] if z == 18 else atoms_energy[1] for z in atoms.numbers)
        energy = atoms.get_potential_energy() + alone
        frames.append(LabelledFrame(Configuration.from_atoms(atoms), energy, atoms.get_forces(), None, protocol))
    return Dataset(tuple(frames))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a committee of two, trained on both elements."""
    folder = tmp_path_factory.mktemp("models") / "initial"
    train_committee(cells(), settings=QUICK, n_members=2).save(folder)
    return folder


def same_weights(one, other):
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_step_zero_is_the_initial_model_with_the_energies_of_the_new_protocol(model):
    before = Committee.load(model)
    data = cells(atoms_energy=(-400.0, -30.5), protocol="two")
    after = train_committee(data, settings=STILL, n_members=2, initial=Initial.load(model))
    assert (after.config, after.preset, after.baseline.scale) == (before.config, before.preset, before.baseline.scale)
    old, new = dict(before.baseline.reference_energies), dict(after.baseline.reference_energies)
    assert (new[18] - old[18], new[10] - old[10]) == pytest.approx((-360.0, -0.5), abs=0.2)
    structures = [frame.configuration for frame in cells(4, seed=1).frames]
    for configuration, one, two in zip(structures, before.predict(structures), after.predict(structures), strict=True):
        assert two.forces == pytest.approx(one.forces, abs=1e-5)
        moved = sum(new[int(z)] - old[int(z)] for z in configuration.numbers)
        assert two.energy - one.energy == pytest.approx(moved, abs=1e-4)
    assert all(line["step"] in (0, 1) for line in after.metrics)


def test_a_narrow_set_of_frames_moves_all_elements_alike(model):
    old = dict(Committee.load(model).baseline.reference_energies)
    pure = cells(symbols=("Ar",), atoms_energy=(-90.0, 0.0))
    new = dict(fit_baseline(pure.frames, None, [2], Initial.load(model)).reference_energies)
    assert sorted(new) == [2, 10, 18]
    assert new[18] - old[18] == pytest.approx(-50.0, abs=0.2)
    assert new[10] - old[10] == pytest.approx(new[18] - old[18], abs=1e-5)


def test_an_element_the_model_has_not_met_is_fitted(model):
    frames = [*cells(6).frames]
    for k in range(3):
        helium = Configuration([2, 18], [[0, 0, 0], [3.5 + 0.1 * k, 0, 0]], 9 * np.eye(3))
        frames.append(LabelledFrame(helium, -7.0 - 40.0, np.zeros((2, 3)), None, "one"))
    energies = dict(fit_baseline(frames, None, (), Initial.load(model)).reference_energies)
    assert energies[2] == pytest.approx(-7.0, abs=1.0)
    assert energies[18] == pytest.approx(-40.0, abs=1.0)


def test_given_energies_are_taken_and_those_of_other_elements_follow(model):
    old = dict(Committee.load(model).baseline.reference_energies)
    found = fit_baseline(cells(symbols=("Ar",)).frames, {18: old[18] - 1.0}, (), Initial.load(model))
    assert dict(found.reference_energies) == pytest.approx({10: old[10] - 1.0, 18: old[18] - 1.0})
    assert carried({1: -1.0}, {2: -5.0}) == {1: -1.0, 2: -5.0}


def test_a_fine_tune_learns_what_is_new(model):
    settings = dataclasses.replace(QUICK, learning_rate=3e-3, validation_fraction=0.3)
    tuned = train_committee(cells(24, seed=2, protocol="two"), settings=settings, initial=Initial.load(model))
    assert tuned.metrics[0]["step"] == 0
    assert tuned.card["members"][0]["best"]["validation_loss"] < 0.9 * tuned.metrics[0]["validation_loss"]


def test_a_fine_tune_that_spoils_the_model_keeps_it(model):
    settings = dataclasses.replace(QUICK, steps=3, records=1, learning_rate=0.3)
    tuned = train_committee(cells(), settings=settings, initial=Initial.load(model))
    first, last = tuned.metrics
    assert last["validation_loss"] > first["validation_loss"]
    assert tuned.card["members"][0]["best"]["step"] == first["step"] == 0
    assert same_weights(tuned.members[0], Committee.load(model).members[0])


def test_seeds_decide_and_members_are_counted_round(model):
    pair = train_committee(cells(), settings=QUICK, seed=5, n_members=2, initial=Initial.load(model, 1))
    alone = train_committee(cells(), settings=QUICK, seed=6, initial=Initial.load(model, 2))
    assert same_weights(pair.members[1], alone.members[0])
    assert [member["initial"]["member"] for member in pair.card["members"]] == [1, 0]
    assert alone.card["members"][0]["initial"] == pair.card["members"][1]["initial"]
    other = train_committee(cells(), settings=QUICK, seed=7, initial=Initial.load(model, 0))
    assert not same_weights(other.members[0], alone.members[0])
    with pytest.raises(ValueError, match="initial member -1"):
        Initial.load(model, -1)


def test_fine_tuned_members_join_each_other_and_nobody_else(model, tmp_path):
    for k in range(2):
        tuned = train_committee(cells(), settings=QUICK, seed=k, initial=Initial.load(model, k))
        tuned.save(tmp_path / f"m{k}")
    merge_model_folders([tmp_path / "m0", tmp_path / "m1"], tmp_path / "both")
    both = Committee.load(tmp_path / "both")
    assert [member["initial"]["member"] for member in both.card["members"]] == [0, 1]
    with pytest.raises(ModelFilesError, match="baseline"):
        merge_model_folders([tmp_path / "m0", model], tmp_path / "mixed")


def test_an_interrupted_fine_tune_goes_on_from_its_checkpoint(model, tmp_path):
    settings = dataclasses.replace(QUICK, checkpoint_seconds=1e-9)

    class Interrupted(Exception):
        pass

    def stop(seed, progress, line):
        if progress > 0.6:
            raise Interrupted

    def tuned(member=0, **more):
        start = Initial.load(model, member)
        return train_committee(cells(), settings=settings, checkpoints=tmp_path, initial=start, **more)

    with pytest.raises(Interrupted):
        tuned(report=stop)
    with pytest.raises(CheckpointError, match="other data"):
        tuned(member=1)
    with pytest.raises(CheckpointError, match="other data"):
        train_committee(cells(), settings=settings, checkpoints=tmp_path)
    steps = []
    resumed = tuned(report=lambda seed, progress, line: steps.append(line["step"]))
    whole = train_committee(cells(), settings=settings, initial=Initial.load(model))
    assert min(steps) > 20
    assert same_weights(resumed.members[0], whole.members[0])
    assert [line["step"] for line in resumed.metrics] == [line["step"] for line in whole.metrics]


def test_what_contradicts_the_initial_model_is_refused(model):
    start = Initial.load(model)
    preset = start.committee.preset
    train_committee(cells(4), "teanet", preset, settings=STILL, initial=start)
    for kind, message in ((("schnet", None), "architecture 'schnet'"), ((None, "huge"), "preset 'huge'")):
        with pytest.raises(TrainingError, match=f"{message}: the initial model has"):
            train_committee(cells(4), *kind, settings=STILL, initial=start)
