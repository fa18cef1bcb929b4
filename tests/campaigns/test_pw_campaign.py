"""A whole campaign with the real pw.x, small, and campaigns in which labels fail."""

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(1800)]

CAMPAIGN = {
    "seed": 7,
    "generate": {
        "recipe": {
            "source": "packing",
            "elements": ["H", "He", "Li", "Be"],
            "atoms": [2, 3],
            "packing_fraction": [0.4, 0.6],
            "maximum_volume_per_atom": 16.0,
        },
        "seed_set": 3,
        "starts": 3,
    },
    "label": {
        "protocol": "fast",
        "overrides": {"wavefunction_cutoff": 25, "density_cutoff": 125, "kpoints_spacing": 2.0},
        "max_jobs": 2,
        "clean_scratch": True,
        "reference_atoms": False,
    },
    "train": {"members": 2, "steps": 4, "records": 1},
    "explore": {"dataset_starts": 1, "steps": 10, "min_steps": 5, "sample_interval": 5},
    "select": {"count": 2},
    "stop": {"iterations": 1},
}


def write(folder, name, **label):
    """The campaign with other settings of the label stage and nothing after the seed set."""
    overrides = {**CAMPAIGN["label"]["overrides"], **label.pop("overrides", {})}
    document = {**CAMPAIGN, "label": {**CAMPAIGN["label"], **label, "overrides": overrides}, "stop": {"iterations": 0}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def campaign(deployment):
    """pk of the finished campaign."""
    path = deployment.folder / "small.yaml"
    path.write_text(yaml.safe_dump(CAMPAIGN))
    return deployment.finish(path)


@pytest.fixture
def node(record, campaign):
    from aiida_argonaut.provenance_db.queries import load_campaign

    return load_campaign(campaign)


def labels_of(node):
    """All pw.x calculations below a process."""
    from aiida_argonaut.provenance_db.queries import descendants

    return [child for child in descendants(node) if child.process_label == "PwCalculation"]


def test_every_label_is_accounted_for(deployment, campaign):
    summary = deployment.status(campaign)
    assert summary["exit_status"] == 0
    counts = [iteration["labels"] for iteration in summary["iterations"]]
    assert [count["submitted"] for count in counts] == [3, 2]
    assert all(count["submitted"] == count["ok"] + len(count["lost"]) for count in counts)
    assert summary["iterations"][-1]["dataset"]["n_frames"] == sum(count["ok"] for count in counts) >= 4


def test_nothing_comes_from_nowhere(deployment, campaign):
    assert "0 nodes without provenance" in deployment.run("argonaut", "audit", campaign).stdout


def test_labels_are_those_of_pw(node):
    from aiida_argonaut.mlip.frames import label_id

    protocol_hash = node.inputs.settings["label"]["protocol_hash"]
    dataset = node.outputs.dataset.dataset()
    assert dataset.protocol_hash == protocol_hash
    assert dataset.protocol == node.inputs.settings["label"]["protocol"]
    energies = {
        round(label.outputs.output_parameters["energy"], 6) for label in labels_of(node) if label.is_finished_ok
    }
    for frame in dataset.frames:
        assert frame.label_id == label_id(frame.configuration, protocol_hash)
        assert round(frame.energy, 6) in energies
        assert frame.stress is not None


def test_reference_energies_are_those_of_the_pseudo_atoms(node):
    from aiida_argonaut.dft_inputs.pseudos.upf import header
    from aiida_argonaut.mlip.units import RYDBERG

    found = node.outputs.reference_energies.get_dict()
    assert sorted(found) == ["Be", "H", "He", "Li"]
    for symbol, energy in found.items():
        assert energy == pytest.approx(header(node.inputs.pseudos[symbol].get_content()).total_energy * RYDBERG)
    assert found["He"] < found["H"] < 0


def test_binding_is_what_the_model_learns(node):
    """Labels minus the energies of their free atoms are some eV per atom, not the total energies of the atoms."""
    from ase.data import chemical_symbols

    references = node.outputs.reference_energies.get_dict()
    for frame in node.outputs.dataset.dataset().frames:
        rest = frame.energy - sum(references[chemical_symbols[z]] for z in frame.configuration.numbers)
        assert abs(rest) / len(frame) < 25.0


def test_at_most_two_labels_are_in_flight(node):
    labels = labels_of(node)
    assert len(labels) == 5
    assert all(sum(a.ctime <= b.ctime < a.mtime for a in labels) <= 2 for b in labels)


def test_one_calculation_per_label(node):
    structures = [label.inputs.structure.uuid for label in labels_of(node)]
    assert len(structures) == len(set(structures)) == 5


def test_good_labels_leave_no_scratch(node):
    from pathlib import Path

    folders = [label.outputs.remote_folder for label in labels_of(node) if label.is_finished_ok]
    assert len(folders) >= 4
    assert all(folder.is_cleaned for folder in folders)
    assert not any(path for folder in folders for path in Path(folder.get_remote_path()).glob("*"))


def test_what_every_label_lost_the_campaign_says(deployment, record):
    """A machine that never converges: every loss is told with its reason, and nothing is tried again for it."""
    from aiida_argonaut.provenance_db.queries import load_campaign

    path = write(deployment.folder, "hopeless", max_iterations=1, overrides={"electron_maxstep": 1})
    pk = deployment.finish(path, exit_code=1)
    summary = deployment.status(pk, exit_code=1)
    assert summary["exit_status"] == 401
    assert "Every label of the seed set was lost" in summary["exit_message"]
    (seed_set,) = summary["iterations"]
    assert seed_set["exit_status"] == 415
    assert seed_set["labels"]["ok"] == 0
    assert seed_set["labels"]["reasons"] == {"scf_not_converged": 3}
    assert deployment.run("argonaut", "status", pk, exit_code=1).stdout.count("scf_not_converged") == 3
    assert len(labels_of(load_campaign(pk))) == 3
    assert "0 nodes without provenance" in deployment.run("argonaut", "audit", pk).stdout


def test_one_that_fails_does_not_lose_the_others(deployment, node):
    """A force cap that one label of the same seed set exceeds: it is lost, and the others make a committee."""
    from aiida_argonaut.provenance_db.queries import descendants, iterations, load_campaign

    frames = iterations(node)[0].outputs.labels.dataset().frames
    largest = sorted(float(((frame.forces**2).sum(axis=1) ** 0.5).max()) for frame in frames)
    assert len(largest) >= 3
    cap = round((largest[-1] + largest[-2]) / 2, 6)
    pk = deployment.finish(write(deployment.folder, "capped", overrides={"max_force": cap}))
    (seed_set,) = deployment.status(pk)["iterations"]
    assert (seed_set["labels"]["submitted"], seed_set["labels"]["ok"]) == (3, len(largest) - 1)
    assert seed_set["labels"]["reasons"]["force_cap"] == 1
    assert seed_set["committee"]["n_members"] == 2
    assert "0 nodes without provenance" in deployment.run("argonaut", "audit", pk).stdout
    # the cap decides what is kept, not what is computed: nothing was computed twice
    jobs = [child for child in descendants(load_campaign(pk)) if child.process_label == "PwCalculation"]
    assert len(jobs) == 3
    assert all(job.base.caching.is_created_from_cache for job in jobs)
