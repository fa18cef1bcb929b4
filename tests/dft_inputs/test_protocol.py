"""A protocol has one identity: what changes a label changes the hash, what does not leaves it alone."""

import dataclasses
import re

import pytest

from aiida_argonaut.dft_inputs.elements import STRINGENCIES, ElementError, campaign_cutoffs, load_elements
from aiida_argonaut.dft_inputs.protocol import (
    Protocol,
    ProtocolError,
    document_hash,
    load_protocol,
    plane_waves,
    protocol_document,
    protocol_hash,
    pw_parameters,
)

MD5S = {"C": "a" * 32, "H": "b" * 32}


@pytest.mark.parametrize("name", STRINGENCIES)
def test_shipped_protocols_load(name):
    protocol = load_protocol(name)
    assert protocol.name == protocol.stringency == name
    assert protocol.minimum_distance_ratio == 0.5


def test_stringency_means_something():
    fast, balanced, stringent = map(load_protocol, STRINGENCIES)
    assert fast.kpoints_spacing > balanced.kpoints_spacing > stringent.kpoints_spacing
    assert fast.conv_thr_per_atom >= balanced.conv_thr_per_atom >= stringent.conv_thr_per_atom
    for entry in load_elements().values():
        cutoffs = [entry.cutoffs[name] for name in STRINGENCIES]
        assert cutoffs == sorted(cutoffs)
        assert all(density >= 4 * wavefunction for wavefunction, density in cutoffs)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"kpoint_spacing": 0.3}, "did you mean 'kpoints_spacing'"),
        ({"smearing": "hot"}, "'hot'"),
        ({"spin": "colinear"}, "did you mean 'collinear'"),
        ({"degauss": -0.1}, "degauss must be a number above 0"),
        ({"degauss": True}, "degauss must be a number above 0"),
        ({"wavefunction_cutoff": "much"}, "wavefunction_cutoff must be"),
        ({"mixing_beta": 1.5}, "at most 1"),
        ({"stress": "yes"}, "true or false"),
        ({"dispersion": "d4"}, "dispersion 'd4'; valid: d3, none"),
        ({"max_net_force": 0}, "max_net_force must be a number above 0"),
        ({"max_smearing_energy": None}, "max_smearing_energy must be a number above 0"),
        ({"max_energy_per_atom": -1.0}, "max_energy_per_atom above 0, got -12.0 and -1.0"),
        ({"min_energy_per_atom": "low"}, "min_energy_per_atom must be below"),
    ],
)
def test_bad_overrides_are_explained(overrides, words):
    with pytest.raises(ProtocolError, match=re.escape(words)):
        load_protocol("fast", overrides)


def test_unknown_protocol():
    with pytest.raises(ProtocolError, match="did you mean 'balanced'"):
        load_protocol("balance")


def test_hash_is_stable_and_shaped():
    found = protocol_hash(load_protocol("fast"), MD5S, "6.7")
    assert re.fullmatch(r"p[0-9a-f]{31}", found)
    assert found == protocol_hash(load_protocol("fast"), dict(reversed(MD5S.items())), "6.7")
    assert (
        document_hash({"b": 1, "a": [2.0]}) == document_hash({"a": [2.0], "b": 1}) == "p4066b37374c1ee096acbf7bb21a171f"
    )


def test_hashes_of_labels_made_before_dispersion_and_edge_were_choices_still_hold():
    old = {"smearing": "cold", "cutoff_smoothing": 0.0}
    fast = load_protocol("fast", {**old, "degauss": 0.02})
    assert protocol_hash(fast, MD5S, "6.7") == "p87f67638691cc09663ae009c4d0a053"
    collinear = load_protocol("stringent", {**old, "degauss": 0.01, "spin": "collinear"})
    assert protocol_hash(collinear, MD5S, "6.7") == "p70aec6961dde6282abc00acd30bf5bd"


@pytest.mark.parametrize(
    "change",
    [
        {"kpoints_spacing": 0.9},
        {"degauss": 0.03},
        {"smearing": "cold"},
        {"cutoff_smoothing": 0.0},
        {"cutoff_smoothing": 5.0},
        {"conv_thr_per_atom": 1e-6},
        {"spin": "collinear"},
        {"dispersion": "d3"},
        {"wavefunction_cutoff": 99.0},
        {"density_cutoff": 999.0},
    ],
)
def test_hash_sees_what_changes_a_label(change):
    fast = load_protocol("fast")
    assert protocol_hash(dataclasses.replace(fast, **change), MD5S, "6.7") != protocol_hash(fast, MD5S, "6.7")


def test_hash_sees_pseudopotentials_code_and_cutoffs():
    fast = load_protocol("fast")
    hashes = {
        protocol_hash(fast, MD5S, "6.7"),
        protocol_hash(fast, MD5S, "7.4"),
        protocol_hash(fast, {**MD5S, "H": "c" * 32}, "6.7"),
        protocol_hash(fast, {**MD5S, "O": "c" * 32}, "6.7"),
        protocol_hash(fast, MD5S, "6.7", (80.0, 640.0)),
    }
    assert len(hashes) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"mixing_beta": 0.1},
        {"mixing_mode": "TF"},
        {"electron_maxstep": 7},
        {"max_force": 9.0},
        {"max_net_force": 1.0},
        {"max_force_correction": 1.0},
        {"min_energy_per_atom": -9.0},
        {"max_energy_per_atom": 9.0},
        {"max_smearing_energy": 1.0},
        {"stress": False},
    ],
)
def test_hash_is_blind_to_the_way_and_to_the_caps(change):
    fast = load_protocol("fast")
    assert protocol_hash(dataclasses.replace(fast, **change), MD5S, "6.7") == protocol_hash(fast, MD5S, "6.7")


def test_a_request_of_an_older_record_is_still_a_protocol():
    request = dataclasses.asdict(load_protocol("fast"))
    for key in ("dispersion", "max_net_force", "max_force_correction", "max_smearing_energy", "min_energy_per_atom"):
        del request[key]
    del request["max_energy_per_atom"], request["cutoff_smoothing"]
    assert Protocol(**request) == load_protocol("fast", {"cutoff_smoothing": 0.0})


def test_document_can_be_compared():
    fast = load_protocol("fast")
    ours, theirs = protocol_document(fast, MD5S, "6.7"), protocol_document(fast, MD5S, "7.4")
    assert [key for key in ours if ours[key] != theirs[key]] == ["code"]
    with pytest.raises(ProtocolError, match="md5"):
        protocol_document(fast, {}, "6.7")


def test_cutoffs_are_those_of_the_campaign():
    fast = load_protocol("fast")
    sodium, aluminium = campaign_cutoffs(["Na"], "fast"), campaign_cutoffs(["Al"], "fast")
    assert sodium[0] > aluminium[0]
    system = pw_parameters(fast, ["Al", "Na"], ["Al"])["SYSTEM"]
    assert system["ecfixed"] == max(sodium[0], aluminium[0])
    hard = load_protocol("fast", {"cutoff_smoothing": 0.0})
    system = pw_parameters(hard, ["Al", "Na"], ["Al"])["SYSTEM"]
    assert (system["ecutwfc"], system["ecutrho"]) == (max(sodium[0], aluminium[0]), max(sodium[1], aluminium[1]))
    assert pw_parameters(hard, ["Al"], ["Al"], (33.0, 150.0))["SYSTEM"]["ecutrho"] == 150.0
    with pytest.raises(ElementError, match="Fe"):
        campaign_cutoffs(["Fe"], "fast")


def test_the_smooth_edge_lies_at_the_cutoff_and_the_hard_one_beyond_it():
    waves = plane_waves(load_protocol("fast", {"cutoff_smoothing": 4.0}), (40.0, 320.0))
    assert waves == {"ecutwfc": 44.0, "ecutrho": 352.0, "ecfixed": 40.0, "q2sigma": 1.6, "qcutz": 1000.0}
    assert plane_waves(load_protocol("fast", {"cutoff_smoothing": 0}), (40.0, 320.0)) == {
        "ecutwfc": 40.0,
        "ecutrho": 320.0,
    }
    with pytest.raises(ProtocolError, match="cutoff_smoothing must be a number of Ry from 0, got -1"):
        load_protocol("fast", {"cutoff_smoothing": -1})


def test_parameters_follow_the_configuration():
    fast = load_protocol("fast")
    four = pw_parameters(fast, ["C", "H"], ["C", "H", "H", "H"])
    assert four["ELECTRONS"]["conv_thr"] == pytest.approx(4 * fast.conv_thr_per_atom)
    assert four["CONTROL"]["tprnfor"] is four["CONTROL"]["tstress"] is True
    assert four["CONTROL"]["disk_io"] == "none"
    assert pw_parameters(fast, ["C"], ["C"], keep_files=True)["CONTROL"]["disk_io"] == "low"
    assert "nspin" not in four["SYSTEM"]
    assert "vdw_corr" not in four["SYSTEM"]
    dispersed = pw_parameters(load_protocol("fast", {"dispersion": "d3"}), ["C", "H"], ["C", "H", "H", "H"])
    assert dispersed["SYSTEM"]["vdw_corr"] == "dft-d3"
    with pytest.raises(ProtocolError, match="N"):
        pw_parameters(fast, ["C"], ["N"])
    with pytest.raises(ProtocolError, match="none"):
        pw_parameters(fast, ["C"], [])


def test_collinear_starts_from_moments_of_the_kinds_present():
    protocol = load_protocol("balanced", {"spin": "collinear"})
    system = pw_parameters(protocol, ["C", "O", "Ar"], ["O", "Ar"])["SYSTEM"]
    assert system["nspin"] == 2
    assert set(system["starting_magnetization"]) == {"O", "Ar"}
    assert all(0 < m <= 1 for m in system["starting_magnetization"].values())
    assert system["starting_magnetization"]["O"] == pytest.approx(2 / 6, abs=1e-6)
