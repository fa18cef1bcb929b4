"""Stories written by hand."""

from datetime import UTC, datetime

import numpy as np
import pytest

NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
SETTINGS = {
    "label": {"labeller": "ase", "calculator": "lj", "parameters": {"sigma": 0.6}, "protocol_hash": "p1"},
    "train": {"elements": ["H", "He", "Li", "Be"]},
    "select": {"config": {"near_distance": 0.05}},
    "stop": {"iterations": 2, "force_rmse": None},
}


@pytest.fixture
def frames():
    """Make `count` labelled frames of `atoms` atoms, random but for the seed."""
    from aiida_argonaut.mlip.frames import Configuration, LabelledFrame, Origin

    def made(count, atoms=3, seed=0):
        draw = np.random.default_rng(seed)
        found = []
        for index in range(count):
            numbers = draw.integers(1, 5, atoms)
            edge = 2.5 * atoms ** (1 / 3) + draw.uniform()
            origin = Origin("packing", f"{seed}/{index}")
            positions = draw.uniform(0, edge, (atoms, 3))
            configuration = Configuration(numbers, positions, edge * np.eye(3), origin=origin)
            forces = draw.normal(size=(atoms, 3)) if atoms > 1 else np.zeros((1, 3))
            found.append(LabelledFrame(configuration, float(draw.normal() * atoms), forces, None, "p1"))
        return found

    return made


@pytest.fixture
def fresh():
    """Predict labelled frames, wrong by `error` and unsure by `deviation` (eV/Å); every third is of the random arm."""
    from aiida_argonaut.mlip.predictions import Prediction
    from aiida_argonaut.workflows.report.story import Fresh

    def made(number, trained_on, labels, error=0.5, deviation=0.2):
        draw = np.random.default_rng(number)
        predictions, arms = {}, {}
        for index, label in enumerate(labels):
            n, name = len(label), label.configuration.configuration_id
            forces = label.forces + error * draw.normal(size=(n, 3))
            spread = deviation * draw.uniform(0.5, 1.5, n)
            predictions[name] = Prediction(label.energy + error * n * draw.normal(), 0.1, forces, None, spread)
            arms[name] = "deviation" if index % 3 else "random"
        return Fresh(number, trained_on, tuple(labels), predictions, arms)

    return made


@pytest.fixture
def iteration():
    """One iteration of a summary, finished well unless told otherwise."""

    def made(number, frames=0, ok=6, lost=(), **changes):
        errors = {"forces_rmse_meV_per_A": 500.0 / (number + 1), "energy_rmse_meV_per_atom": 50.0}
        document = {
            "pk": 100 + number, "part": 1, "number": number, "state": "finished", "exit_status": 0,
            "exit_message": None, "stage": "done",
            "labels": {
                "submitted": ok + len(lost), "ok": ok, "rescued": {}, "lost": list(lost),
                "reasons": {loss["reason"]: 1 for loss in lost},
                "sources": {"packing": [ok + len(lost), ok, 0, len(lost)]},
                "elements": {symbol: [ok + len(lost), ok, 0, len(lost)] for symbol in ("H", "Be")},
            },
            "seconds": {"total": 60.0, "generate": 2.0, "label": 40.0, "train": 18.0},
            "generated": {"asked": 6, "made": 6},
            "members_trained": {"ok": 2, "waiting": 0},
            "errors": {"n_frames": ok, "after": errors, **({"before": errors} if number else {})},
            "dataset": {"pk": 7, "n_frames": frames},
        }  # fmt: skip
        if number:
            document["stop_reasons"] = {"completed": 5, "uncertain": 2}
            document["selection"] = {
                "counts": {"candidate": 10, "accurate": 20, "duplicate": 3, "failed": 0, "unphysical": 1},
                "thresholds": {"low": 0.1, "high": 1.0},
                "arms": {"deviation": 4, "random": 2},
            }
        return {**document, **changes}

    return made


@pytest.fixture
def story():
    """A story of some iterations; every part of it can be replaced."""
    from aiida_argonaut.workflows.report.story import Story

    def made(iterations, summary=None, settings=None, **parts):
        told = {
            "pk": 1, "uuid": "u-1", "label": "made up", "state": "finished", "exit_status": 0, "exit_message": None,
            "seed": 7, "iterations_planned": 3, "seconds": 200.0, "iterations": list(iterations), "outputs": {},
            **(summary or {}),
        }  # fmt: skip
        return Story(told, {**SETTINGS, **(settings or {})}, NOW, NOW, **{"jobs": [], "profile": "test", **parts})

    return made


@pytest.fixture
def whole(story, iteration, frames, fresh):
    """A seed set and two iterations, with labels and predictions, and one label lost."""
    from aiida_argonaut.provenance_db.spending import Job

    loss = {
        "reason": "force_cap",
        "formula": "BeH2",
        "source": "packing",
        "message": "85 eV/Å",
        "configuration_id": "c",
    }
    first, second, third = frames(6, seed=1), frames(6, seed=2), frames(5, seed=3)
    jobs = [Job(1, "label", "LabelAseCalculation", 2, 1800.0, False, True), Job(2, "train", "T", 1, 60.0, True, True)]

    def made(**parts):
        return story(
            [iteration(0, 6), iteration(1, 12), iteration(2, 17, ok=5, lost=[loss])],
            frames=[*first, *second, *third],
            fresh=[fresh(1, 6, second), fresh(2, 12, third)],
            **{"jobs": jobs, **parts},
        )

    return made
