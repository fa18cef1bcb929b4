"""ASE labels: right numbers, and every failure becomes the named loss of one configuration."""

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from aiida_argonaut.mlip.frames import Configuration, LabelledFrame, Origin
from aiida_argonaut.mlip.labelling import (
    LOSSES,
    LabellingError,
    Loss,
    account,
    label_with_ase,
    loss_document,
    merge_accounts,
    protocol_hash_of,
    protocol_of,
    rescue_document,
)

LJ = "ase.calculators.lj:LennardJones"


def argon(shift=0.0):
    positions = np.array([[0, 0, 0], [3.6 + shift, 0.1, 0]])
    return Configuration(np.array([18, 18]), positions, np.eye(3) * 12)


class Moody(Calculator):
    """Raises on carbon, gives NaN on nitrogen, and after an error is of no use any more."""

    implemented_properties = ("energy", "forces")

    def __init__(self):
        super().__init__()
        self.broken = False

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.broken |= 6 in atoms.numbers
        if self.broken:
            raise RuntimeError("no carbon\nplease")
        value = np.nan if 7 in atoms.numbers else 1.0
        self.results = {"energy": value, "forces": np.zeros((len(atoms), 3))}


def test_numbers_are_those_of_the_calculator():
    parameters = {"sigma": 3.4, "epsilon": 0.0104, "rc": 5.0}
    molecule = Configuration(np.array([18, 18]), argon().positions, np.zeros((3, 3)), (False,) * 3)
    frames = list(label_with_ase([argon(), molecule], LJ, parameters))
    atoms = argon().to_atoms()
    atoms.calc = LennardJones(**parameters)
    assert frames[0].energy == pytest.approx(atoms.get_potential_energy())
    assert frames[0].forces == pytest.approx(atoms.get_forces(), abs=1e-8)
    assert frames[0].stress == pytest.approx(atoms.get_stress(voigt=False))
    assert frames[1].stress is None
    assert {frame.protocol_hash for frame in frames} == {protocol_hash_of(protocol_of(LJ, parameters))}
    assert protocol_hash_of(protocol_of(LJ, {})) != protocol_hash_of(protocol_of(LJ, parameters))


def test_protocol_hash_is_that_of_dft_inputs():
    from aiida_argonaut.dft_inputs.protocol import document_hash

    protocol = protocol_of(LJ, {"sigma": 3.4, "epsilon": 1e-9})
    assert protocol_hash_of(protocol) == document_hash(protocol)


def test_failures_are_losses_and_stop_nobody(monkeypatch):
    import ase.calculators.lj

    monkeypatch.setattr(ase.calculators.lj, "Moody", Moody, raising=False)
    cells = [Configuration(np.array([z, 1]), argon().positions, np.eye(3) * 12) for z in (8, 6, 8, 7, 8)]
    cells.append(Configuration(np.array([14, 14]), np.array([[0, 0, 0], [0.9, 0, 0]]), np.eye(3) * 12))
    results = list(label_with_ase(cells, "ase.calculators.lj:Moody", {}))
    kinds = [result.reason if isinstance(result, Loss) else "" for result in results]
    assert kinds == ["", "calculator_failed", "", "unusable_result", "", "unphysical_distance"]
    assert set(kinds) - {""} == set(LOSSES)
    assert results[1].message == "RuntimeError: no carbon please"
    assert [r.configuration_id for r in results if isinstance(r, Loss)] == [
        cells[k].configuration_id for k in (1, 3, 5)
    ]
    assert all(isinstance(results[k], LabelledFrame) for k in (0, 2, 4))


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("LennardJones", {}, "expected module:Class"),
        ("ase.calculators.no:X", {}, "cannot be imported"),
        ("ase.calculators.lj:X", {}, "cannot be imported"),
        ("fractions:Fraction", {"colour": "red"}, "refuses its parameters"),
        (LJ, {"sigam": 3.0}, "unknown key 'sigam'; did you mean 'sigma'"),
    ],
)
def test_bad_calculators_are_refused_before_any_work(path, parameters, message):
    with pytest.raises(ValueError, match=message):
        label_with_ase([argon()], path, parameters)


def cells(*given):
    """One configuration per (symbols as atomic numbers, source)."""
    return [
        Configuration(np.array(numbers), np.arange(3 * len(numbers)).reshape(-1, 3), (9 + k) * np.eye(3),
                      origin=Origin(source))
        for k, (numbers, source) in enumerate(given)
    ]  # fmt: skip


def ids(configurations):
    return [configuration.configuration_id for configuration in configurations]


GIVEN = (((1, 1), "dimers"), ((1, 3), "dimers"), ((3, 3), "packing"), ((1, 4), "packing"), ((4, 4), "packing"))


def test_an_account_has_every_label_once_by_source_and_by_element():
    given = cells(*GIVEN)
    lost = [loss_document(given[3], "force_cap", "a force of 85 eV/Å", {"max_force_eV_per_A": 85.0})]
    found = account(given, ids(given[i] for i in (0, 2, 4)), [rescue_document(given[1], "local-TF")], lost)
    assert (found["submitted"], found["ok"], len(found["rescued"]), len(found["lost"])) == (5, 3, 1, 1)
    assert found["rescued"] == [
        {"configuration_id": ids(given)[1], "formula": "HLi", "source": "dimers", "rung": "local-TF"}
    ]
    assert found["lost"][0]["figures"] == {"max_force_eV_per_A": 85.0}
    assert found["sources"] == {"dimers": [2, 1, 1, 0], "packing": [3, 2, 0, 1]}
    assert found["elements"] == {"Be": [2, 1, 0, 1], "H": [3, 1, 1, 1], "Li": [2, 1, 1, 0]}
    assert all(row[0] == sum(row[1:]) for key in ("sources", "elements") for row in found[key].values())


def test_a_loss_without_figures_says_nothing_of_them():
    assert "figures" not in loss_document(argon(), "calculator_failed", "m")
    assert "figures" not in loss_document(argon(), "label_incomplete", "m", {})


@pytest.mark.parametrize(
    ("ok", "lost"), [((0, 1), ()), ((0, 1, 2), (2,)), ((0, 1), (3,)), ((0, 1, 1), ()), ((0, 1, 2, 3), ())]
)
def test_an_account_that_does_not_add_up_is_refused(ok, lost):
    given = cells(*GIVEN)
    with pytest.raises(LabellingError, match="3 configurations"):
        account(given[:3], ids(given[k] for k in ok), [], [loss_document(given[k], "cholesky", "m") for k in lost])


def test_a_configuration_that_is_asked_for_twice_counts_twice():
    given = cells(*GIVEN[:1]) * 2
    found = account(given, ids(given[:1]), [], [loss_document(given[0], "cholesky", "m")])
    assert found["sources"] == {"dimers": [2, 1, 0, 1]}


def test_accounts_are_merged_and_old_ones_can_be():
    given = cells(*GIVEN)
    first = account(given[:2], ids(given[:1]), [rescue_document(given[1], "local-TF")], [])
    second = account(given[2:], ids(given[3:]), [], [loss_document(given[2], "cholesky", "m")])
    merged = merge_accounts([first, second])
    whole = account(given, ids(given[i] for i in (0, 3, 4)), first["rescued"], second["lost"])
    assert merged == whole
    old = {"submitted": 3, "ok": 2, "lost": [{"reason": "cholesky"}]}
    assert merge_accounts([old, first]) == {"submitted": 5, "ok": 3, "rescued": first["rescued"], "lost": old["lost"]}
