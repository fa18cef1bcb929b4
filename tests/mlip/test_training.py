"""Training learns, is reproducible, keeps to its budget, resumes, and survives hostile data."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import ase.build
import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones

from aiida_argonaut.mlip import member, potential, step
from aiida_argonaut.mlip.checkpoint import CheckpointError
from aiida_argonaut.mlip.dataset import Dataset
from aiida_argonaut.mlip.evaluate import evaluate, metrics
from aiida_argonaut.mlip.frames import Configuration, LabelledFrame
from aiida_argonaut.mlip.plan import fit_baseline, isolated_energies, make_plan
from aiida_argonaut.mlip.potential import get_architecture
from aiida_argonaut.mlip.predictions import Prediction
from aiida_argonaut.mlip.training import TrainingError, TrainSettings, train_committee

QUICK = TrainSettings(steps=40, records=4, batch_size=4)


def argon(n=24, seed=0, stress=True):
    """Rattled 4-atom cells of Lennard-Jones argon with energies of 0.1 eV and 10 eV per atom below zero."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = ase.build.bulk("Ar", "fcc", a=5.0 + random.random(), cubic=True)
        atoms.positions += 0.25 * random.normal(size=(4, 3))
        atoms.calc = LennardJones(epsilon=0.1, sigma=3.4, rc=9.0)
        tension = atoms.get_stress(voigt=False) if stress else None
        energy = atoms.get_potential_energy() - 40.0
        frames.append(LabelledFrame(Configuration.from_atoms(atoms), energy, atoms.get_forces(), tension, "lj"))
    return Dataset(tuple(frames))


def test_errors_fall_well_below_the_spread_of_the_labels():
    data = argon(60)
    committee = train_committee(data, settings=TrainSettings(steps=200, records=10), n_members=1)
    test = argon(20, seed=1)
    found, _ = evaluate(committee, test.frames)
    spread = 1e3 * np.std(np.concatenate([frame.forces for frame in test.frames]))
    assert found["force_mev_per_angstrom"]["rmse"] < 0.3 * spread
    energies = [frame.energy / len(frame) for frame in test.frames]
    assert found["energy_mev_per_atom"]["rmse"] < 0.5e3 * np.std(energies)
    assert found["stress_gpa"]["rmse"] > 0


def test_same_seed_same_weights_other_seed_other_weights():
    first, again = [train_committee(argon(8), settings=QUICK, seed=5) for _ in range(2)]
    other = train_committee(argon(8), settings=QUICK, seed=6)
    for name, weight in first.members[0].items():
        assert torch.equal(weight, again.members[0][name])
    assert not torch.equal(first.members[0]["radial"], other.members[0]["radial"])


def test_members_trained_one_by_one_are_the_committee():
    together = train_committee(argon(8), settings=QUICK, seed=5, n_members=2)
    alone = train_committee(argon(8), settings=QUICK, seed=6)
    assert (together.config, together.baseline) == (alone.config, alone.baseline)
    assert torch.equal(together.members[1]["radial"], alone.members[0]["radial"])
    assert [member["seed"] for member in together.card["members"]] == [5, 6]


def test_budget_ends_training_with_a_usable_model():
    settings = dataclasses.replace(QUICK, steps=10**6)
    committee = train_committee(argon(8), settings=settings, budget=2.0)
    card = committee.card["members"][0]
    assert card["ended_by"] == "budget"
    assert card["seconds"] < 4.0
    assert committee.metrics[-1]["progress"] == 1
    assert committee.metrics[-1]["learning_rate"] < 0.05 * settings.learning_rate
    assert np.isfinite(evaluate(committee, argon(8).frames)[0]["force_mev_per_angstrom"]["mae"])


def test_slow_validation_takes_a_tenth_of_a_budget_of_time(monkeypatch):
    now = [0.0]

    def taking(seconds, function):
        def slower(*given):
            now[0] += seconds
            return function(*given)

        return slower

    monkeypatch.setattr(member, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(member, "validate", taking(5.0, member.validate))
    monkeypatch.setattr(member.Descent, "step", taking(0.5, member.Descent.step))
    settings = dataclasses.replace(QUICK, steps=10**6, records=50)
    committee = train_committee(argon(8), settings=settings, budget=200.0)
    assert [line["progress"] for line in committee.metrics] == [0.02, 0.295, 0.57, 0.845, 1.0]


def test_interrupted_training_ends_where_the_uninterrupted_one_does(tmp_path):
    settings = dataclasses.replace(QUICK, checkpoint_seconds=1e-9)

    class Interrupted(Exception):
        pass

    def stop(seed, progress, line):
        if progress > 0.6:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_committee(argon(8), settings=settings, checkpoints=tmp_path, report=stop)
    steps = []
    resumed = train_committee(
        argon(8),
        settings=settings,
        checkpoints=tmp_path,
        report=lambda seed, progress, line: steps.append(line["step"]),
    )
    whole = train_committee(argon(8), settings=settings)
    assert min(steps) > 20
    assert torch.equal(resumed.members[0]["radial"], whole.members[0]["radial"])
    with pytest.raises(CheckpointError, match="other data"):
        train_committee(argon(8, seed=3), settings=settings, checkpoints=tmp_path)


def test_non_finite_steps_are_rolled_back(monkeypatch):
    original, calls = step.loss, []

    def poisoned(*arguments):
        calls.append(1)
        return original(*arguments) * (float("nan") if len(calls) == 30 else 1.0)

    monkeypatch.setattr(step, "loss", poisoned)
    committee = train_committee(argon(8), settings=QUICK)
    assert committee.card["members"][0]["rollbacks"] == 1
    assert committee.metrics[-1]["step"] == QUICK.steps


def test_hopeless_training_gives_up_with_a_reason(monkeypatch):
    original = step.loss
    monkeypatch.setattr(step, "loss", lambda *arguments: original(*arguments) * float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        train_committee(argon(8), settings=QUICK)


def poison_validation(monkeypatch, poisoned):
    """Make the validations whose number `poisoned` accepts come out as NaN."""
    original, calls = member.validate, []

    def validate(*arguments):
        calls.append(1)
        found = original(*arguments)
        return {**found, "loss": float("nan")} if poisoned(len(calls)) else found

    monkeypatch.setattr(member, "validate", validate)


def test_non_finite_validation_is_rolled_back(monkeypatch):
    poison_validation(monkeypatch, lambda call: call == 2)
    committee = train_committee(argon(8), settings=QUICK)
    assert committee.card["members"][0]["rollbacks"] == 1
    assert [line["step"] for line in committee.metrics] == [10, 20, 30, 40]
    assert all(np.isfinite(line["validation_loss"]) for line in committee.metrics)


@pytest.mark.parametrize("budget", [None, 1e-3])
def test_untrained_weights_are_never_passed_off_as_trained(monkeypatch, budget):
    poison_validation(monkeypatch, lambda call: True)
    with pytest.raises(TrainingError, match=r"not finite at step 10|no validation loss was finite"):
        train_committee(argon(8), settings=QUICK, budget=budget)


def test_random_cells_with_huge_forces_train_to_finite_weights():
    random = np.random.default_rng(0)
    frames = []
    for _ in range(12):
        n = int(random.integers(2, 7))
        cell = np.eye(3) * 3.5 + 0.3 * random.normal(size=(3, 3))
        configuration = Configuration(random.integers(1, 19, n), random.random((n, 3)) @ cell, cell)
        frames.append(LabelledFrame(configuration, -300.0 * n, 60 * random.normal(size=(n, 3)), None, "p"))
    committee = train_committee(Dataset(tuple(frames)), settings=QUICK)
    assert all(torch.isfinite(weight).all() for weight in committee.members[0].values())
    assert committee.card["members"][0]["rollbacks"] == 0


def test_given_reference_energies_are_used():
    committee = train_committee(argon(4), settings=dataclasses.replace(QUICK, steps=2), reference_energies={18: -9.0})
    assert committee.baseline.reference_energies == ((18, -9.0),)
    assert committee.card["reference_energies"] == "given"


def test_isolated_atoms_are_the_reference_and_never_judge():
    lone = [
        LabelledFrame(Configuration([18], np.zeros((1, 3)), cell, periodic), -39.5, np.zeros((1, 3)), None, "lj")
        for cell, periodic in ((np.zeros((3, 3)), (False,) * 3), (np.diag([9.0, 10.0, 11.0]), (True,) * 3))
    ]
    data = Dataset((*argon(6).frames, *lone))
    settings = TrainSettings(validation_fraction=0.5)
    plan = make_plan(data, None, None, settings, None, (), "cpu")
    assert plan.baseline.reference_energies == ((18, -39.5),)
    assert plan.card["reference_energies"] == "isolated atoms among the frames"
    assert (plan.samples.atoms[plan.validation] > 1).all()
    assert sorted([*plan.train, *plan.validation]) == list(range(8))
    bulk = [ase.build.bulk("Ar", "sc", a=4.0)]
    near = LabelledFrame(Configuration.from_atoms(bulk[0]), -39.0, np.zeros((1, 3)), None, "lj")
    assert isolated_energies([*argon(2).frames, near], 5.0)[0] is None


def test_what_compositions_do_not_decide_is_said():
    water = [
        LabelledFrame(
            Configuration([1, 1, 8], np.eye(3) * k, np.zeros((3, 3)), (False,) * 3), -9.0, np.zeros((3, 3)), None, "p"
        )
        for k in (1.0, 1.1)
    ]
    assert isolated_energies(water, 5.0) == (
        None, "least squares on all 2 frames, whose compositions decide 1 of 2 energies",
    )  # fmt: skip
    assert isolated_energies(argon(3).frames, 5.0)[1] == "least squares on all 3 frames"


def test_given_reference_energies_must_cover_frames_and_elements():
    frames = argon(2).frames
    with pytest.raises(TrainingError, match="reference energies lack Ar, of the frames; they have H"):
        fit_baseline(frames, {1: -13.0})
    with pytest.raises(TrainingError, match="reference energies lack C, O, of the elements"):
        fit_baseline(frames, {1: -13.0, 18: -9.0}, elements=[1, 8, 6])
    assert fit_baseline(frames, {1: -13.0, 18: -9.0}, elements=[1]).elements == (1, 18)


def test_validation_frames_are_not_trained_on():
    settings = TrainSettings(validation_fraction=0.25)
    plan = make_plan(argon(16), "teanet", "campaign", settings, None, (), "cpu")
    trained, judged = ({float(plan.samples.energy[index]) for index in part} for part in (plan.train, plan.validation))
    assert len(judged) == 4
    assert not trained & judged


def test_bootstrap_draws_another_pool_for_each_seed():
    settings = dataclasses.replace(QUICK, bootstrap=True, steps=6)
    first, second = [train_committee(argon(8), settings=settings, seed=seed) for seed in (1, 2)]
    assert not torch.equal(first.members[0]["out"], second.members[0]["out"])


def test_batches_are_halved_when_the_memory_does_not_suffice(monkeypatch):
    original = step.network_part

    def hungry(architecture, config, parameters, baseline, graph, *rest, **options):
        if options.get("create_graph") and graph.n_structures > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(architecture, config, parameters, baseline, graph, *rest, **options)

    monkeypatch.setattr(step, "network_part", hungry)
    committee = train_committee(argon(16), settings=dataclasses.replace(QUICK, batch_size=8))
    card = committee.card["members"][0]
    assert (card["batch_share"], card["steps"]) == (0.25, QUICK.steps)


def test_validations_are_evenly_spaced():
    committee = train_committee(argon(4), settings=dataclasses.replace(QUICK, steps=100, records=50))
    assert [line["step"] for line in committee.metrics] == list(range(2, 101, 2))


def test_one_frame_that_does_not_fit_is_an_error(monkeypatch):
    def hungry(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(step, "network_part", hungry)
    with pytest.raises(TrainingError, match="one frame"):
        train_committee(argon(8), settings=QUICK)


def test_a_member_without_progress_ends_early(monkeypatch):
    original, calls = member.validate, []

    def worsening(*arguments):
        calls.append(1)
        return {**original(*arguments), "loss": float(len(calls))}

    monkeypatch.setattr(member, "validate", worsening)
    committee = train_committee(argon(8), settings=dataclasses.replace(QUICK, steps=400, records=40, patience=3))
    card = committee.card["members"][0]
    assert (card["ended_by"], card["steps"], card["best"]["step"]) == ("patience", 40, 10)


def test_shared_weights_become_each_block_s_own_and_training_resumes_across_it(monkeypatch, tmp_path):
    teanet = get_architecture("teanet")
    tiny = replace(teanet.preset("published"), n_blocks=4, scalar_width=12, bond_width=8, vector_width=4, cutoff=4.0)
    monkeypatch.setitem(potential._REGISTERED, "teanet", replace(teanet, presets={"tiny": tiny}))
    settings = dataclasses.replace(QUICK, checkpoint_seconds=1e-9, untie_at=0.5)

    class Interrupted(Exception):
        pass

    def stop(seed, progress, line):
        if progress > 0.7:
            raise Interrupted

    whole = train_committee(argon(8), preset="tiny", settings=settings)
    assert not whole.config.tied
    blocks = [whole.members[0][f"block{k}.atom"] for k in (1, 2)]
    assert not torch.equal(*blocks)
    with pytest.raises(Interrupted):
        train_committee(argon(8), preset="tiny", settings=settings, checkpoints=tmp_path, report=stop)
    resumed = train_committee(argon(8), preset="tiny", settings=settings, checkpoints=tmp_path)
    for name, weight in whole.members[0].items():
        assert torch.equal(weight, resumed.members[0][name])


def test_bad_input_is_refused():
    with pytest.raises(TrainingError, match="no frames"):
        train_committee(Dataset(()))
    with pytest.raises(TrainingError, match="learning_rate"):
        TrainSettings(learning_rate=0.0)
    with pytest.raises(TrainingError, match="validation_fraction"):
        TrainSettings(validation_fraction=1.0)


def test_metrics_are_the_textbook_ones():
    frame = argon(1).frames[0]
    shifted = Prediction(
        frame.energy + 0.4, 0.0, frame.forces + [[0.1, 0, 0]] * 4, frame.stress + 0.01, np.array([0.1, 0.2, 0.3, 0.4])
    )
    found = metrics([shifted], [frame], n_members=2)
    assert found["energy_mev_per_atom"]["mae"] == pytest.approx(100.0)
    assert found["force_mev_per_angstrom"]["mae"] == pytest.approx(100 / 3)
    assert found["force_mev_per_angstrom"]["rmse"] == pytest.approx(100 / np.sqrt(3))
    assert found["stress_gpa"]["mae"] == pytest.approx(1.602177, rel=1e-5)
    assert found["deviation"]["quantiles_ev_per_angstrom"]["1.0"] == pytest.approx(0.4)


def test_elements_without_frames_are_known_at_the_mean_energy() -> None:
    baseline = fit_baseline(argon(4).frames, None, elements=[1, 18])
    assert baseline.elements == (1, 18)
    assert dict(baseline.reference_energies)[1] == pytest.approx(dict(baseline.reference_energies)[18])
