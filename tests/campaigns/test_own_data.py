"""Campaigns that begin with what a user has: labelled data, a committee, structures, a pool with a table of labels."""

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RECIPE = {
    "source": "packing", "elements": ["H", "He", "Li", "Be"], "atoms": [2, 3], "minimum_distance_ratio": [0.9, 1.0]
}  # fmt: skip
CALCULATOR = "ase.calculators.lj:LennardJones"
PARAMETERS = {"sigma": 0.6, "epsilon": 0.1, "rc": 4.0}
SMALL = {
    "train": {"members": 2, "steps": 4, "records": 1},
    "explore": {"dataset_starts": 2, "steps": 10, "min_steps": 5, "sample_interval": 5},
    "select": {"count": 3, "random_fraction": 0.34},
    "stop": {"iterations": 0},
}


@pytest.fixture(scope="module")
def own(deployment):
    """A folder with labels.extxyz (8 frames), own.extxyz (2 configurations) and model/, made by the commands."""
    folder = deployment.folder / "own"
    folder.mkdir()
    for name, content in (("recipe", RECIPE), ("parameters", PARAMETERS), ("settings", {"steps": 4, "records": 1})):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def run(*words):
        deployment.run("argonaut", *" ".join(words).split(), folder=folder)

    run("generate", "recipe.yaml", "-n 8 --seed 1 -o starts.extxyz")
    run("label-ase", "starts.extxyz", f"--calculator {CALCULATOR} --parameters parameters.yaml -o labelled")
    run("generate", "recipe.yaml", "-n 2 --seed 2 -o own.extxyz")
    run("train", "labelled/labels.extxyz", "-o model --members 2 --config settings.yaml --elements H,He,Li,Be")
    return folder


@pytest.fixture
def campaign(deployment, own):
    """Run a campaign file beside the files and return its node."""

    def ran(name, exit_code=0, **sections):
        from aiida_argonaut.provenance_db.queries import load_campaign

        path = own / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"seed": 5, **SMALL, **sections}))
        pk = deployment.finish(path, exit_code)
        assert "0 nodes without provenance" in deployment.run("argonaut", "audit", pk).stdout
        return load_campaign(pk)

    return ran


def ids(configurations):
    return {configuration.configuration_id for configuration in configurations}


def test_labels_are_looked_up_for_what_is_drawn_from_a_pool(record, own, campaign):
    from aiida_argonaut.mlip.frames import read_configurations
    from aiida_argonaut.provenance_db.queries import iterations

    node = campaign(
        "pool",
        generate={"pool": "starts.extxyz", "seed_set": 4, "starts": 4},
        label={"labeller": "table", "table": "labelled/labels.extxyz"},
        explore={"dataset_starts": 0, "steps": 0},
        select={"count": 2, "near_distance": 0.0},
        stop={"iterations": 1},
    )
    seed_set, later = iterations(node)
    pool = ids(read_configurations(own / "starts.extxyz"))
    first, second = (ids(part.outputs.candidates.configurations()) for part in (seed_set, later))
    assert (len(first), len(second)) == (4, 2)
    assert first | second <= pool
    assert not first & second
    assert (seed_set.outputs.losses["ok"], later.outputs.losses["ok"]) == (4, 2)
    assert later.outputs.errors["before"]["forces_rmse_meV_per_A"] > 0
    assert node.outputs.dataset.n_frames == 6


def test_a_committee_is_tuned_and_own_structures_are_kept(record, own, campaign):
    from aiida_argonaut.mlip.frames import read_configurations
    from aiida_argonaut.provenance_db.queries import descendants, iterations

    node = campaign(
        "tuned",
        start={
            "data": "labelled/labels.extxyz", "protocol": "same", "committee": "model", "structures": "own.extxyz"
        },
        generate={"recipe": "recipe.yaml", "seed_set": 0, "starts": 3},
        label={"labeller": "ase", "calculator": CALCULATOR, "parameters": PARAMETERS},
    )  # fmt: skip
    (only,) = iterations(node)
    assert node.outputs.dataset.n_frames == 8 + 3 + 2
    assert ids(read_configurations(own / "own.extxyz")) <= ids(only.outputs.candidates.configurations())
    assert only.outputs.errors["n_frames"] == 5
    assert len(only.outputs.candidates.predicted_frames()) == 3, "own structures were not predicted first"
    jobs = [job for job in descendants(node) if job.process_label == "TrainCalculation"]
    assert [job.inputs.settings["initial_member"] for job in jobs] == [0, 1]
    assert all("initial" in job.inputs for job in jobs)


def test_own_structures_in_a_recipe_are_kept_marked_and_stored(record, own, campaign):
    """CIF and extended XYZ in a recipe of counts and weights; the later iteration goes on behind them.

    It ends when it has generated: no trajectory keeps to such small forces.
    """
    import ase.build
    import ase.io

    from aiida_argonaut.provenance_db.queries import iterations

    ase.io.write(own / "beryllium.cif", ase.build.bulk("Be"))
    mine = {"source": "user", "files": ["beryllium.cif", "own.extxyz"], "copies": 1}
    node = campaign(
        "recipe_files",
        exit_code=1,
        generate={"recipe": {"sources": [{**RECIPE, "weight": 2}, mine]}, "seed_set": 8, "starts": 3, "workers": 2},
        label={"labeller": "ase", "calculator": CALCULATOR, "parameters": PARAMETERS},
        explore={**SMALL["explore"], "max_force": 1e-9},
        stop={"iterations": 1},
    )
    (own / "beryllium.cif").unlink()
    assert node.exit_status == 402
    assert node.inputs.recipe_files.user_1.n_frames == 3
    seed_set, later = iterations(node)
    made = [part.base.links.get_outgoing(link_label_filter="generate%").all_nodes()[0] for part in (seed_set, later)]
    first, second = (job.outputs.configurations.configurations() for job in made)
    assert [c.origin.source for c in first] == ["user"] * 6 + ["packing"] * 2
    assert [bool(c.origin.parent) for c in first] == [False] * 3 + [True] * 3 + [False] * 2
    assert [c.origin.source for c in second] == ["packing"] * 3
    labelled = {f.configuration.configuration_id: f.configuration for f in node.outputs.dataset.dataset().frames}
    assert ids(node.inputs.recipe_files.user_1.configurations()) <= labelled.keys()
    assert sum(c.origin.source == "user" for c in labelled.values()) == 6


def test_labels_of_another_protocol_stay_apart(record, own, campaign):
    from aiida_argonaut.provenance_db.queries import iterations

    node = campaign(
        "apart",
        start={"data": "labelled/labels.extxyz"},
        generate={"recipe": "recipe.yaml", "starts": 3},
        label={"labeller": "ase", "calculator": CALCULATOR, "parameters": {**PARAMETERS, "epsilon": 0.2}},
    )
    (only,) = iterations(node)
    assert node.outputs.initial_committee.n_members == 2
    assert only.inputs.previous.committee.uuid == node.outputs.initial_committee.uuid
    assert node.outputs.dataset.n_frames == only.outputs.labels.n_frames == 3
    assert node.outputs.dataset.base.attributes.get("protocol_hash") != (
        node.inputs.start.other_dataset.base.attributes.get("protocol_hash")
    )


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"start": {"data": "starts.extxyz", "protocol": "same"}}, "no energy"),
        ({"start": {"data": "own.yaml"}}, "no such file"),
        ({"start": {"committee": "labelled"}}, "not a model folder"),
        ({"start": {"committee": 1}}, "expected a CommitteeData"),
        ({"start": {"data": 999999}}, "no node 999999"),
        ({"start": {"committee": "model"}, "train": {"architecture": "teanet", "preset": "published"}}, "preset"),
        ({"start": {"data": "labelled/labels.extxyz", "committee": "model"}, "label": {
            "labeller": "ase", "parameters": {"sigma": 0.7}}}, "leave one of them out"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_before_anything_is_done(deployment, own, sections, words):
    path = own / "bad.yaml"
    base = {"generate": {"recipe": "recipe.yaml"}, "label": {"labeller": "ase", "parameters": PARAMETERS}}
    path.write_text(yaml.safe_dump({**base, **sections}))
    done = deployment.run("argonaut", "launch", path, exit_code=2)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
