"""Dynamics and exploration: the right temperature, independence of the batch, one reason for every end."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from aiida_argonaut.mlip import dynamics
from aiida_argonaut.mlip.dynamics import Walk, langevin_init, langevin_step, temperatures
from aiida_argonaut.mlip.exploration import (
    REASONS,
    ExplorationError,
    ExplorationSettings,
    explore,
    plan,
    stop_deviation,
)
from aiida_argonaut.mlip.frames import Configuration, Origin
from aiida_argonaut.mlip.graph import build_graph
from aiida_argonaut.mlip.predictions import PredictedFrame
from aiida_argonaut.mlip.sanity import RADII
from aiida_argonaut.mlip.settings import SettingsError, settings_from_mapping


class Output(NamedTuple):
    energy: torch.Tensor
    forces: torch.Tensor


class MorseCommittee:
    """Two members: a smooth Morse potential whose bond length is the summed covalent radii, times 1 -+ spread."""

    def __init__(self, spread=0.0, depth=0.3, cutoff=4.0, sabotage=None):
        self.spread, self.depth, self.cutoff, self.sabotage = spread, depth, cutoff, sabotage
        self.calls = 0

    def build_graph(self, configurations, skin=0.0):
        return build_graph(configurations, self.cutoff, skin)

    def evaluate(self, graph, stress=False):
        self.calls += 1
        vectors = graph.vectors.detach().requires_grad_()
        radii = torch.tensor(RADII)[graph.numbers]
        r = vectors.norm(dim=1)
        well = torch.exp(-1.5 * (r - radii[graph.i] - radii[graph.j]))
        envelope = torch.where(r < self.cutoff, (1 - (r / self.cutoff) ** 2) ** 2, 0.0)
        bonds = self.depth * (well**2 - 2 * well) * envelope
        energy = torch.zeros(graph.n_structures, dtype=r.dtype).index_add(0, graph.structure[graph.i], bonds)
        (slope,) = torch.autograd.grad(energy.sum(), vectors)
        zero = torch.zeros_like(graph.positions)
        forces = zero.index_add(0, graph.i, slope).index_add(0, graph.j, -slope)
        scale = torch.tensor([1 - self.spread, 1 + self.spread], dtype=r.dtype)
        output = Output(scale[:, None] * energy.detach(), scale[:, None, None] * forces)
        return self.sabotage(self.calls, graph, output) if self.sabotage else output


def solid(seed=0, n=2, spacing=2.6, z=6, noise=0.05):
    """n^3 atoms on a noisy cubic lattice with `spacing` Å."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3), -1).reshape(-1, 3) * spacing
    numbers = np.full(len(grid), z)
    origin = Origin("packing", f"0/{seed}")
    return Configuration(numbers, grid + rng.normal(size=grid.shape) * noise, np.eye(3) * n * spacing, origin=origin)


CALM = ExplorationSettings(steps=40, temperature_K=400.0, stop_deviation=1e9, sample_interval=10)


def run(starts, settings=CALM, committee=None, stop=1e9, seed=5):
    return list(explore(committee or MorseCommittee(0.05), starts, settings, stop, seed))


def test_bath_gives_its_temperature():
    starts = [solid(seed, n=3, spacing=2.2, z=14) for seed in range(8)]
    target, state = 600.0, None
    walks = [Walk(start, seed, target, 1.0) for seed, start in enumerate(starts)]
    committee = MorseCommittee()
    state = langevin_init(committee, walks, 0.5)
    seen = []
    for step in range(1200):
        state = langevin_step(committee, state, 0.05, 0.5)
        if step >= 400:
            seen.append(float(temperatures(state).mean()))
    assert np.mean(seen) == pytest.approx(target, rel=0.03)


def test_starting_velocities_have_the_temperature_and_no_momentum():
    walks = [Walk(solid(seed, n=3), seed, 1000.0, 1.0) for seed in range(60)]
    state = langevin_init(MorseCommittee(), walks, 0.5)
    momentum = torch.zeros(60, 3, dtype=torch.float64).index_add(0, state.structure, state.masses * state.velocities)
    assert momentum.abs().max() < 1e-12
    assert float(temperatures(state).mean()) == pytest.approx(1000.0, rel=0.05)


def test_momentum_stays_zero():
    committee = MorseCommittee()
    state = langevin_init(committee, [Walk(solid(), 1, 900.0, 1.0)], 0.5)
    for _ in range(50):
        state = langevin_step(committee, state, 0.02, 0.5)
    assert (state.masses * state.velocities).sum(0).abs().max() < 1e-9


def total_energy_drift(timestep):
    committee = MorseCommittee()
    state = langevin_init(committee, [Walk(solid(spacing=1.6), 1, 600.0, timestep)], 0.5)
    totals = []
    for _ in range(int(100 / timestep)):
        state = langevin_step(committee, state, 1e-12, 0.5)
        totals.append(float(state.energy[0] + (0.5 * state.masses * state.velocities**2).sum()))
    return np.std(totals)


def test_without_friction_energy_is_conserved_to_second_order():
    coarse, fine = total_energy_drift(1.0), total_energy_drift(0.5)
    assert coarse < 0.01
    assert coarse / fine == pytest.approx(4.0, rel=0.3)


def test_list_with_skin_gives_the_forces_of_a_fresh_list():
    committee = MorseCommittee()
    state = langevin_init(committee, [Walk(solid(seed, spacing=2.0), seed, 3000.0, 1.0) for seed in range(3)], 0.5)
    rebuilt = 0
    for _ in range(80):
        before = state.listed
        state = langevin_step(committee, state, 0.05, 0.5)
        rebuilt += not torch.equal(before, state.listed)
        parts = torch.split(state.positions, state.counts)
        fresh = [replace(w.configuration, positions=p.numpy()) for w, p in zip(state.walks, parts, strict=True)]
        expected = committee.evaluate(build_graph(fresh, committee.cutoff)).forces.mean(0)
        assert (state.forces - expected).abs().max() < 1e-6
    assert 0 < rebuilt < 80


def test_trajectory_does_not_depend_on_its_batch():
    starts = [solid(seed, spacing=2.0 + 0.1 * seed, z=6 + seed) for seed in range(6)]
    together = run(starts)
    alone = [run([start])[0] for start in starts]
    in_pairs = run(starts[::-1], replace(CALM, batch_atoms=16))[::-1]
    for one, two, three in zip(together, alone, in_pairs, strict=True):
        assert one.walk.seed == two.walk.seed == three.walk.seed
        for a, b, c in zip(one.frames, two.frames, three.frames, strict=True):
            assert np.abs(a.configuration.positions - b.configuration.positions).max() < 1e-6
            assert np.abs(a.configuration.positions - c.configuration.positions).max() < 1e-6
    assert np.abs(together[0].frames[-1].configuration.positions - starts[0].positions).max() > 0.01


def test_structures_that_stop_leave_the_others_alone():
    wild, calm = solid(1, spacing=1.8, z=14), solid(2, z=6)
    committee = MorseCommittee(0.3)
    settings = replace(CALM, min_steps=5)
    both = run([wild, calm], settings, committee, stop=0.1)
    (alone,) = run([calm], settings, committee, stop=0.1)
    assert (both[0].reason, both[0].steps) == ("uncertain", 5)
    assert (both[1].reason, both[1].steps) == ("completed", 40)
    final = [trajectory.frames[-1].configuration.positions for trajectory in (both[1], alone)]
    assert np.abs(final[0] - final[1]).max() < 1e-6


def test_seed_decides():
    def end(seed):
        return run([solid()], seed=seed)[0].frames[-1].configuration.configuration_id

    assert end(1) == end(1) != end(2)


def test_frames_carry_origin_prediction_and_step():
    (trajectory,) = run([solid()])
    assert [frame.info["step"] for frame in trajectory.frames] == [0, 10, 20, 30, 40]
    first, *later = trajectory.frames
    assert first.configuration.origin.source == "packing"
    for frame in later:
        assert frame.configuration.origin.source == "dynamics"
        assert frame.configuration.origin.parent == first.configuration.configuration_id
        back = PredictedFrame.from_atoms(frame.to_atoms())
        assert back.info["trajectory"] == 0
    deviation = 0.05 * np.linalg.norm(first.prediction.forces, axis=1)
    assert first.prediction.force_deviation == pytest.approx(deviation)


def blow_up(calls, graph, output):
    return output._replace(forces=output.forces * (1e4 if calls > 12 else 1))


def turn_nan(calls, graph, output):
    return output._replace(forces=output.forces * (float("nan") if calls > 12 else 1))


def attract(calls, graph, output):
    """Pulls bonds together with a strength that stays under the force limit."""
    unit = graph.vectors / graph.vectors.norm(dim=1, keepdim=True)
    near = (graph.vectors.norm(dim=1) < 3.0)[:, None]
    pull = torch.zeros_like(graph.positions).index_add(0, graph.i, 20 * unit * near)
    return output._replace(forces=(pull.index_add(0, graph.j, -20 * unit * near)).expand(2, -1, -1))


def push_along_x(calls, graph, output):
    push = torch.zeros_like(graph.positions)
    push[::2, 0], push[1::2, 0] = 30.0, -30.0
    return output._replace(forces=push.expand(2, -1, -1))


def gas():
    """Atoms far apart in x, y and z: pushing them does not bring them close at once."""
    return Configuration(np.array([18, 18]), np.array([[0, 0, 0], [5, 5, 5.0]]), np.eye(3) * 10)


@pytest.mark.parametrize(
    ("reason", "start", "committee", "changes", "stop", "last"),
    [
        ("completed", solid(), MorseCommittee(), {}, 1e9, 40),
        ("uncertain", solid(spacing=2.0, z=14), MorseCommittee(0.5), {"min_steps": 7}, 0.01, 7),
        (
            "unphysical_distance",
            solid(spacing=2.0),
            MorseCommittee(sabotage=attract),
            {"max_temperature_K": 1e9},
            1e9,
            None,
        ),
        ("unphysical_force", solid(), MorseCommittee(sabotage=blow_up, depth=3.0), {}, 1e9, 11),
        ("unphysical_temperature", gas(), MorseCommittee(sabotage=push_along_x), {}, 1e9, None),
        ("nonfinite", solid(), MorseCommittee(sabotage=turn_nan), {}, 1e9, 11),
    ],
)
def test_each_reason(reason, start, committee, changes, stop, last):
    (trajectory,) = run([start], replace(CALM, **changes), committee, stop)
    assert trajectory.reason == reason
    kept = trajectory.frames[-1].info["step"]
    if reason in ("completed", "uncertain"):
        assert kept == trajectory.steps == last
    else:
        assert kept == trajectory.steps - 1
        assert last is None or kept == last
    document = trajectory.to_document()
    assert document["reason"] in REASONS
    assert document["frames"][-1] == kept


def test_unphysical_start_keeps_nothing():
    start = Configuration(np.array([14, 14]), np.array([[0, 0, 0], [1.0, 0, 0]]), np.eye(3) * 8)
    (trajectory,) = run([start])
    assert (trajectory.reason, trajectory.steps, trajectory.frames) == ("unphysical_distance", 0, [])


def test_single_atom_stays():
    start = Configuration(np.array([13]), np.zeros((1, 3)), np.eye(3) * 2.6)
    (trajectory,) = run([start])
    assert trajectory.reason == "completed"
    assert trajectory.to_document()["temperature_mean_K"] == 0.0


def test_automatic_stop_is_a_multiple_of_the_median_start():
    committee = MorseCommittee(0.2)
    starts = [solid(seed, spacing=1.8 + 0.1 * seed) for seed in range(5)]
    largest = [
        dynamics.force_deviation(committee.evaluate(committee.build_graph([start])).forces).max() for start in starts
    ]
    expected = 2.0 * float(np.median(largest))
    settings = replace(CALM, stop_deviation="auto", stop_deviation_factor=2.0)
    assert stop_deviation(committee, starts, settings) == pytest.approx(expected)
    assert stop_deviation(committee, starts, replace(settings, batch_atoms=8)) == pytest.approx(expected)
    assert stop_deviation(committee, starts, replace(CALM, stop_deviation=0.7)) == 0.7
    with pytest.raises(ExplorationError, match="not finite on any start"):
        stop_deviation(MorseCommittee(0.2, sabotage=lambda *a: turn_nan(99, *a[1:])), starts, settings)


def test_plan_draws_conditions_by_content():
    settings = ExplorationSettings(temperature_K=(300.0, 1500.0))
    starts = [solid(1), solid(2), solid(1), solid(3, z=1)]
    walks = plan(starts, settings, 3)
    assert len({walk.seed for walk in walks}) == 4
    assert all(300 <= walk.temperature <= 1500 for walk in walks)
    assert [walk.timestep for walk in walks] == [1.0, 1.0, 1.0, 0.5]
    assert plan(starts[1:2], settings, 3)[0] == walks[1]
    with pytest.raises(ExplorationError, match="no starts"):
        plan([], settings, 3)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"temperature_K": [500, 300]}, "lowest <= highest"),
        ({"timestep_fs": 0}, "timestep_fs 0.0: expected a number above 0"),
        ({"sample_interval": 0}, "sample_interval 0: expected 1 or more"),
        ({"stop_deviaton": 1}, "did you mean 'stop_deviation'"),
        ({"stop_deviation": "none"}, "expected a number or one of auto"),
    ],
)
def test_bad_settings(mapping, message):
    with pytest.raises(SettingsError, match=message):
        settings_from_mapping(ExplorationSettings, mapping, "explore.yaml")
