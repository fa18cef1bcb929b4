"""Isolated atoms with a real daemon and the real pw.x: labelled by a command, then taken over by a campaign."""

import json

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(900)]

OVERRIDES = {"wavefunction_cutoff": 25, "density_cutoff": 125, "kpoints_spacing": 2.0}
CAMPAIGN = {
    "seed": 11,
    "generate": {"recipe": {"source": "packing", "elements": ["H", "He"]}, "seed_set": 0, "starts": 1},
    "start": {"structures": "atoms/cells.extxyz"},
    "label": {"protocol": "fast", "spin": "collinear", "overrides": OVERRIDES},
    "train": {"members": 2, "steps": 2, "records": 1, "validation_fraction": 0.0},
    "stop": {"iterations": 0},
}


@pytest.fixture(scope="module")
def labelled(deployment):
    """The account of a cell of H2 and one of He2, with the isolated atoms of their elements."""
    import ase
    import ase.io

    def pair(symbols, distance):
        return ase.Atoms(symbols, [[0, 0, 0], [distance, 0.1, 0.2]], cell=[2.6, 2.7, 2.8], pbc=True)

    folder = deployment.folder / "atoms"
    folder.mkdir()
    ase.io.write(folder / "cells.extxyz", [pair("H2", 0.8), pair("He2", 1.3)])
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"stringency": "fast", **OVERRIDES}))
    words = "cells.extxyz --protocol tiny.yaml --spin collinear --reference-atoms -o out.extxyz --json"
    return json.loads(deployment.run("argonaut", "label", *words.split(), folder=folder).stdout)


@pytest.fixture(scope="module")
def campaign(deployment, labelled):
    """pk of a campaign with the same protocol and elements."""
    path = deployment.folder / "atoms.yaml"
    path.write_text(yaml.safe_dump(CAMPAIGN))
    return deployment.finish(path)


def test_isolated_atoms_are_labels_like_any_other(deployment, labelled):
    import ase.io

    assert (labelled["submitted"], labelled["ok"], labelled["lost"]) == (4, 4, [])
    assert labelled["sources"] == {"reference_atom": [2, 2, 0, 0], "user": [2, 2, 0, 0]}
    frames = ase.io.read(deployment.folder / "atoms" / "out.extxyz", ":")
    assert [atoms.get_chemical_formula() for atoms in frames] == ["H2", "He2", "H", "He"]
    assert len({atoms.info["protocol_hash"] for atoms in frames}) == 1
    energies = {atoms.get_chemical_formula(): atoms.get_potential_energy() for atoms in frames[2:]}
    assert labelled["reference_atoms"] == pytest.approx(energies, abs=1e-6)


def test_spin_lowers_hydrogen_and_binds_nothing_to_helium(labelled):
    """Against the spherical pseudo-atoms: -1.1 eV for H (docs/labels.md), and box and cutoff alone for He."""
    below = {
        symbol: labelled["reference_atoms"][symbol] - labelled["reference_energies"][symbol] for symbol in ["H", "He"]
    }
    assert below["H"] == pytest.approx(-1.1, abs=0.15)
    assert abs(below["He"]) < 1.0
    assert below["He"] > below["H"]


def test_a_campaign_counts_energies_from_its_atoms(record, labelled, campaign):
    from aiida_argonaut.provenance_db.queries import campaign_summary, iterations, load_campaign, stages

    node = load_campaign(campaign)
    (seed_set,) = campaign_summary(node)["iterations"]
    assert seed_set["reference"] == "atoms of the same protocol"
    assert seed_set["labels"]["sources"] == {"reference_atom": [2, 2, 0, 0], "unknown": [2, 2, 0, 0]}
    assert seed_set["dataset"]["n_frames"] == 4
    assert seed_set["errors"]["n_frames"] == 2
    given = stages(iterations(node)[0])["train"].inputs.reference_energies
    assert given.get_dict() == pytest.approx(labelled["reference_atoms"], abs=1e-6)
    assert given.creator.inputs.dataset.uuid == node.outputs.dataset.uuid
    assert node.outputs.reference_energies.uuid == given.uuid


def test_nothing_is_labelled_twice_by_one_protocol(record, campaign):
    from aiida_argonaut.provenance_db.queries import descendants, load_campaign

    jobs = [child for child in descendants(load_campaign(campaign)) if child.process_label == "PwCalculation"]
    atoms = [job for job in jobs if job.inputs.parameters["SYSTEM"].get("nosym")]
    assert (len(jobs), len(atoms)) == (4, 2)
    assert all(job.base.caching.is_created_from_cache for job in jobs)
    for job in atoms:
        assert job.inputs.parameters["SYSTEM"]["occupations"] == "fixed"
        assert job.inputs.kpoints.get_kpoints_mesh()[0] == [1, 1, 1]


def test_nothing_comes_from_nowhere(deployment, campaign):
    assert "0 nodes without provenance" in deployment.run("argonaut", "audit", campaign).stdout
