"""Every architecture and preset against the contract; and broken ones, each of which must be found out."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from aiida_argonaut.mlip import potential
from aiida_argonaut.mlip.cli.contract import contract
from aiida_argonaut.mlip.committee import Committee
from aiida_argonaut.mlip.contract import CHECKS, check, failed
from aiida_argonaut.mlip.contract.drift import drift
from aiida_argonaut.mlip.contract.subject import BASELINE, Subject, cluster, crystal
from aiida_argonaut.mlip.frames import write_configurations
from aiida_argonaut.mlip.layers import bessel_basis, lengths, sum_structures
from aiida_argonaut.mlip.potential import Architecture, ArchitectureError, architecture_names, get_architecture

SMALL = {"n_blocks": 4, "n_layers": 2, "scalar_width": 16, "vector_width": 16, "bond_width": 16, "n_basis": 8}
CASES = [(name, preset) for name in architecture_names() for preset in get_architecture(name).presets]
FELT = {"cutoff", "fragments"}
"""What a campaign preset cannot hold if its forces reach beyond the cutoff."""
PAGE = Path(__file__).parents[2] / "docs" / "contract.md"


@pytest.mark.parametrize(("name", "preset"), CASES, ids=["-".join(case) for case in CASES])
def test_preset_holds_the_contract(name, preset):
    architecture = get_architecture(name)
    config = architecture.preset(preset)
    if preset != "campaign":
        config = replace(config, **{key: value for key, value in SMALL.items() if hasattr(config, key)})
    outcomes = check(architecture, preset, config)
    assert len(outcomes) == len(CHECKS)
    assert not failed(outcomes), "\n".join(str(outcome) for outcome in failed(outcomes))
    excused = {outcome.name for outcome in outcomes if outcome.status == "exception"}
    assert excused == set(architecture.exceptions.get(preset, {}))


@pytest.mark.parametrize("name", architecture_names())
def test_only_a_long_range_excuses_a_campaign_preset(name, monkeypatch):
    """`cutoff` and `fragments`, where fragments feel each other without a bond, and less the further apart they are."""
    architecture, found = get_architecture(name), []
    assert set(architecture.exceptions.get("campaign", {})) == (set() if architecture.vectors_only else FELT)
    for far in () if architecture.vectors_only else (40.0, 80.0):
        monkeypatch.setattr("aiida_argonaut.mlip.contract.extensivity.FAR", far)
        found += [check(architecture, only=["fragments"])[0].value]
    assert architecture.vectors_only or found[0] > 6 * found[1] > 0


def test_deep_teanet_starts_finite():
    architecture = get_architecture("teanet")
    config = replace(architecture.preset("campaign"), n_blocks=16)
    assert not failed(check(architecture, "campaign", config, only=["batch", "elements", "rotation"]))


def test_rounding_beside_enormous_forces_is_no_violation():
    architecture = get_architecture("teanet")
    config = replace(architecture.preset("campaign"), n_blocks=2, scalar_width=16, bond_width=8, vector_width=4)
    weights = {name: 4 * weight for name, weight in architecture.init(config, torch.Generator().manual_seed(0)).items()}
    doubles = {name: weight.double() for name, weight in weights.items()}
    assert Subject(architecture, "campaign", config, doubles)(crystal()).forces.abs().max() > 1e9
    outcomes = check(architecture, "campaign", config, weights, only=["rotation", "forces", "stress", "small-cell"])
    assert not failed(outcomes), "\n".join(str(outcome) for outcome in failed(outcomes))


@dataclass(frozen=True)
class ToyConfig:
    cutoff: float = 4.0
    direct_forces: bool = False


def init(config, generator):
    return {"elements": torch.randn((19, 6), generator=generator), "three": torch.randn(3, generator=generator)}


def toy(energy, **options):
    return Architecture("toy", {"campaign": ToyConfig(**options)}, init, energy, False)


def bonds(parameters, config, graph, basis=None):
    """(m, 1) energy of each bond of a sound pair potential, or of one with another radial basis."""
    weights = parameters["elements"].index_select(0, graph.numbers)
    radial = bessel_basis(lengths(graph.vectors), config.cutoff, 6) if basis is None else basis
    return (weights[graph.i] * weights[graph.j] * radial).sum(1)


def summed(per_bond, graph):
    return sum_structures(per_bond.new_zeros(graph.n_atoms).index_add(0, graph.i, per_bond), graph)


def sound(p, c, g):
    return summed(bonds(p, c, g), g)


def basis_without_envelope(p, c, g):
    return summed(bonds(p, c, g, torch.exp(-lengths(g.vectors)) * (lengths(g.vectors) < c.cutoff)), g)


def envelope_that_comes_back(p, c, g):
    return summed(bonds(p, c, g, (1 - (lengths(g.vectors) / c.cutoff) ** 2) ** 4), g)


def stretched_along_x(p, c, g):
    return summed(bonds(p, c, g) * (1 + g.vectors[:, 0] ** 2), g)


def handed(p, c, g):
    radial = bessel_basis(lengths(g.vectors), c.cutoff, 3) * p["three"]
    arrows = g.vectors[:, :, None] * radial[:, None]
    frames = arrows.new_zeros((g.n_atoms, 3, 3)).index_add(0, g.i, arrows * p["elements"][g.numbers[g.j], None, :3])
    frames = frames.index_add(0, g.j, -arrows * p["elements"][g.numbers[g.i], None, :3])
    return sound(p, c, g) + sum_structures(torch.linalg.det(frames), g)


def absolute(p, c, g):
    return sound(p, c, g) * (1 + sum_structures(g.positions[:, 0], g).sin())


def one_sided(p, c, g):
    return summed(bonds(p, c, g) * p["elements"][g.numbers[g.i], 0], g)


def squared(p, c, g):
    return sound(p, c, g) ** 2


def mixed(p, c, g):
    return sound(p, c, g) * (1 + bonds(p, c, g).mean())


def capped(p, c, g):
    r = lengths(g.vectors)[:, 0].detach()
    kept = [r[(g.i == k) | (g.j == k)].sort().values[:12][-1:] for k in range(g.n_atoms)]
    reach = torch.stack([each[0] if len(each) else r.new_tensor(0.0) for each in kept])
    return summed(bonds(p, c, g) * (r <= reach[g.i]) * (r <= reach[g.j]), g)


def half_detached(p, c, g):
    return sound(p, c, g) + sound(p, c, g._replace(vectors=g.vectors.detach()))


def half_weights_detached(p, c, g):
    return sound(p, c, g) + sound({name: weight.detach() for name, weight in p.items()}, c, g)


def with_offset(p, c, g):
    return sound(p, c, g) + sum_structures(p["elements"][g.numbers, 0], g)


def without_elements(p, c, g):
    return sound(p, c, g._replace(numbers=torch.ones_like(g.numbers)))


def norm_of_nothing(p, c, g):
    return sound(p, c, g) + summed(torch.sqrt(g.vectors[:, 0] ** 2) * bonds(p, c, g), g)


BROKEN = [
    (basis_without_envelope, {"cutoff"}),
    (envelope_that_comes_back, {"longer-list"}),
    (stretched_along_x, {"rotation", "reflection"}),
    (handed, {"reflection"}),
    (absolute, {"translation", "wrapping"}),
    (one_sided, {"bond-direction"}),
    (squared, {"supercell", "small-cell", "fragments"}),
    (mixed, {"batch", "separation"}),
    (capped, {"crowding"}),
    (half_detached, {"forces", "stress"}),
    (half_weights_detached, {"gradients"}),
    (with_offset, {"free-atoms"}),
    (without_elements, {"elements"}),
    (norm_of_nothing, {"force-loss"}),
]


def names(outcomes):
    return {outcome.name for outcome in outcomes}


def test_sound_toy_fails_only_where_it_is_not_registered():
    outcomes = check(toy(sound))
    assert names(failed(outcomes)) == {"storage"}
    assert "no architecture 'toy'" in failed(outcomes)[0].text


@pytest.mark.parametrize(("energy", "expected"), BROKEN, ids=[energy.__name__ for energy, _ in BROKEN])
def test_broken_toy_is_found_out(energy, expected):
    assert names(failed(check(toy(energy), only=expected))) == expected


def test_handed_energy_passes_rotations_and_permutations():
    assert not failed(check(toy(handed), only=["rotation", "permutation", "bond-direction", "forces"]))


def test_energy_that_ignores_the_geometry_is_not_taken_for_a_smooth_one():
    outcomes = check(toy(lambda p, c, g: 0.0 * sound(p, c, g)), only=["cutoff", "separation", "elements"])
    assert names(failed(outcomes)) == {"cutoff", "separation", "elements"}


def test_direct_forces_without_a_word_fail():
    architecture = replace(
        toy(sound, direct_forces=True),
        direct=lambda p, c, g: (sound(p, c, g), torch.zeros_like(g.positions)),
    )
    assert names(failed(check(architecture, only=["rotation", "forces", "stress"]))) == {"forces", "stress"}


def test_documented_exceptions():
    reasons = {"fragments": "one sum for all", "rotation": "said in error"}
    architecture = replace(toy(squared), exceptions={"campaign": reasons})
    outcomes = {outcome.name: outcome for outcome in check(architecture, only=["fragments", "rotation", "supercell"])}
    assert (outcomes["fragments"].status, outcomes["fragments"].text) == ("exception", "one sum for all")
    assert outcomes["rotation"].status == "held"
    assert "though given as an exception: said in error" in outcomes["rotation"].text
    assert outcomes["supercell"].status == "failed"


def test_exception_excuses_no_error_and_no_unknown_check():
    def crash(p, c, g):
        raise RuntimeError("no\nkernel")

    architecture = replace(toy(crash), exceptions={"campaign": {"forces": "cannot"}})
    (outcome,) = check(architecture, only=["forces"])
    assert (outcome.status, outcome.value) == ("failed", None)
    assert outcome.text.endswith("RuntimeError: no kernel")
    with pytest.raises(ArchitectureError, match="no check 'force'; there are rotation"):
        check(replace(toy(sound), exceptions={"campaign": {"force": "cannot"}}))


def test_a_bias_that_is_zero_at_first_hides_nothing():
    def biased(p, c, g):
        return sound(p, c, g) + summed(p["bias"].expand(g.n_bonds), g)

    start = replace(toy(biased), init=lambda c, generator: {**init(c, generator), "bias": torch.zeros(1)})
    assert names(failed(check(start, only=["cutoff", "fragments"]))) == {"cutoff"}


@pytest.fixture
def page_example(monkeypatch, tmp_path):
    """The example of the page as a module in the current folder, in a registry of its own."""
    monkeypatch.setattr(potential, "_REGISTERED", dict(potential._REGISTERED))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "page_example.py").write_text(code)


@pytest.mark.usefixtures("page_example")
def test_example_of_the_page_holds_everything():
    result = CliRunner().invoke(contract, ["pair", "--import", "page_example", "--json"])
    assert result.exit_code == 0, result.output
    (report,) = json.loads(result.stdout)
    assert [outcome["status"] for outcome in report["outcomes"]] == ["held"] * len(CHECKS)


def test_page_names_every_check():
    assert [each.name for each in CHECKS if f"`{each.name}`" not in PAGE.read_text()] == []


def test_command_on_a_trained_model(tmp_path, monkeypatch):
    architecture = get_architecture("leignn")
    config = replace(architecture.preset("campaign"), n_layers=1, scalar_width=8, vector_width=4)
    weights = architecture.init(config, torch.Generator().manual_seed(0))
    weights["out"][:] = float("nan")
    monkeypatch.setattr("aiida_argonaut.mlip.contract.suite.CHECKS", CHECKS[:2])
    committee = Committee(architecture, "campaign", config, BASELINE, (weights,))
    monkeypatch.setattr(Committee, "load", lambda folder: committee)
    write_configurations(tmp_path / "start.extxyz", [cluster(3, 1)])
    (tmp_path / "model").mkdir()
    result = CliRunner().invoke(contract, ["--model", str(tmp_path / "model")])
    assert result.exit_code == 1
    assert "leignn, campaign: 2 failed" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["teanett"], "did you mean 'teanet'"),
        (["teanet", "--preset", "big"], "no preset 'big'"),
        (["--import", "no_such_module"], "No module named 'no_such_module'"),
        (["teanet", "--model", "."], "give neither"),
        (["--start", str(PAGE)], "--start needs --model"),
    ],
)
def test_command_refuses(arguments, message):
    result = CliRunner().invoke(contract, arguments)
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)


def test_drift_of_conservative_and_of_direct_forces():
    drifts = {}
    start = cluster(5, 3)
    for preset in ("campaign", "published"):
        architecture = get_architecture("leignn")
        config = replace(architecture.preset(preset), n_layers=2, scalar_width=8, vector_width=8, n_basis=6)
        weights = architecture.init(config, torch.Generator().manual_seed(0))
        committee = Committee(architecture, preset, config, replace(BASELINE, repulsion=False), (weights,))
        drifts[preset] = drift(committee, start, duration=20.0)
    assert 20 * drifts["campaign"] < drifts["published"]
