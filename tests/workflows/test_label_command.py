"""`argonaut label` up to the moment of submission: what is read, what is refused, what it costs; and the account."""

from __future__ import annotations

import json
import re

import ase
import ase.io
import numpy as np
import pytest
from click.testing import CliRunner

UPF = """<UPF version="2.0.1">
  <PP_HEADER element="{0}" pseudo_type="PAW" z_valence="{1}.0" total_psenergy="-{1}.5" wfc_cutoff="25"
   rho_cutoff="125"/>
  <PP_BETA.1 angular_momentum="0"/>
</UPF>
"""
VALENCES = {"H": 1, "He": 2}
CUTOFFS = {"fast": (25.0, 125.0), "balanced": (30.0, 240.0), "stringent": (40.0, 320.0)}


def pair(symbols="H2", distance=0.8, edge=3.0, pbc=True, **info):
    """Two atoms along x in a cube."""
    atoms = ase.Atoms(symbols, [[0, 0, 0], [distance, 0, 0]], cell=[edge] * 3, pbc=pbc)
    atoms.info.update(info)
    return atoms


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(name, *atoms) -> path, seen from the working folder."""
    monkeypatch.chdir(tmp_path)

    def written(name, *frames):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        ase.io.write(name, list(frames))
        return tmp_path.__class__(name)

    return written


@pytest.fixture
def place(profile, tmp_path):
    """A profile with pw@localhost (never used) and a family of H and He."""
    from aiida import orm
    from aiida_pseudo.data.pseudo import UpfData
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    from aiida_argonaut.dft_inputs.pseudos.recipes import family_label
    from aiida_argonaut.workflows.setup import PW_VERSION

    computer = orm.Computer(
        label="localhost", hostname="localhost", transport_type="core.local", scheduler_type="core.direct",
        workdir=str(tmp_path),
    ).store()  # fmt: skip
    computer.configure(safe_interval=0)
    code = orm.InstalledCode(
        label="pw", computer=computer, filepath_executable="/bin/true", default_calc_job_plugin="quantumespresso.pw"
    ).store()
    code.base.extras.set(PW_VERSION, "6.7")
    folder = tmp_path / "pseudos"
    folder.mkdir()
    for symbol, valence in VALENCES.items():
        (folder / f"{symbol}.upf").write_text(UPF.format(symbol, valence))
    family = CutoffsPseudoPotentialFamily.create_from_folder(folder, family_label(), pseudo_type=UpfData)
    for stringency, (wave, density) in CUTOFFS.items():
        family.set_cutoffs(
            {symbol: {"cutoff_wfc": wave, "cutoff_rho": density} for symbol in VALENCES}, stringency, unit="Ry"
        )
    return profile


@pytest.fixture
def argonaut(place, monkeypatch):
    """Run a command line in this process; what it ended with."""
    from aiida_argonaut import cli
    from aiida_argonaut.workflows.cli import label

    monkeypatch.setattr(label, "open_profile", lambda name: place.name)

    def ran(*words, exit_code=0):
        done = CliRunner().invoke(cli.argonaut, ["label", *map(str, words)], prog_name="argonaut")
        assert done.exit_code == exit_code, done.output + repr(done.exception)
        return done

    return ran


def count():
    from aiida import orm

    return orm.QueryBuilder().append(orm.Node).count()


def test_structures_keep_their_order_their_place_and_their_origin(write):
    from aiida_argonaut.workflows.label_structures import places_of, read_given

    a = write("a b.extxyz", pair(distance=1.1), pair("He2", 2.0, source="packing", seed="7/3", parent="cabc"))
    b = write("deep/POSCAR", pair("HHe", 1.4))
    c = write("c.cif", pair(distance=1.2))
    given = read_given([b, a, c, a])
    assert [each.formula for each in given.configurations] == ["HHe", "H2", "He2", "H2"]
    origins = [(each.origin.source, each.origin.seed, each.origin.parent) for each in given.configurations]
    assert origins[0] == ("user", "deep/POSCAR#0", "")
    assert origins[1] == ("user", "a%20b.extxyz#0", "")
    assert origins[2] == ("packing", "7/3", "cabc")
    assert given.n_given == 6
    twice = given.places[given.configurations[1].configuration_id]
    assert twice == ("a%20b.extxyz#0", "a%20b.extxyz#0")
    assert given.elements == {"H", "He"}
    del places_of


def test_places_survive_the_database(profile, write):
    from aiida_argonaut.workflows.label_structures import places_of, read_given

    names = ["plain.extxyz", 'q"uo te.extxyz', "back\\slash.extxyz", "_JSON [1].extxyz", "ü;x=1.extxyz", "1,2.extxyz"]
    paths = [write(name, pair(distance=0.9 + 0.1 * number)) for number, name in enumerate(names)]
    given = read_given([*paths, paths[0]])
    node = given.node().store()
    assert places_of(node) == dict(given.places)
    assert list(places_of(node)) == [each.configuration_id for each in given.configurations]
    assert [each.configuration_id for each in node.configurations()] == list(given.places)


def test_labels_in_the_files_are_left_behind(profile, write):
    from ase.calculators.singlepoint import SinglePointCalculator

    from aiida_argonaut.workflows.label_structures import read_given

    atoms = pair()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
    (stored,) = read_given([write("labelled.extxyz", atoms)]).node().atoms()
    assert stored.calc is None
    assert "energy" not in stored.info


def test_what_is_not_periodic_stays_so_unless_a_box_is_asked_for(write):
    from aiida_argonaut.workflows.label_structures import read_given

    surface, slab = pair("He2", 2.2, pbc=(True, True, False)), pair("He2", 2.2, pbc=(True, True, False))
    slab.cell[2] = 0.0
    path = write("mixed.extxyz", pair(pbc=False), surface, slab, pair())
    free = read_given([path]).configurations
    assert [each.periodic for each in free] == [False, False, False, True]
    molecule, kept, boxed, bulk = read_given([path], box=6.0).configurations
    assert all(each.periodic for each in (molecule, kept, boxed, bulk))
    np.testing.assert_allclose(np.diag(molecule.cell), [6.8, 6.0, 6.0])
    np.testing.assert_allclose(kept.cell, 3 * np.eye(3))
    np.testing.assert_allclose(np.diag(boxed.cell), [3.0, 3.0, 6.0])
    assert bulk.configuration_id == free[3].configuration_id
    assert [each.origin.seed for each in (molecule, kept)] == ["mixed.extxyz#0", "mixed.extxyz#1"]


def test_a_box_changes_nothing_about_atoms_that_are_too_close(place, write):
    from aiida_argonaut.workflows.label_alone import label_builder, label_config, refusals
    from aiida_argonaut.workflows.label_structures import read_given

    path = write("close.extxyz", pair(distance=0.1, pbc=False), pair(distance=0.1), pair(pbc=False), pair())
    for box, reasons in ((None, ["not_periodic", "atoms_too_close", "not_periodic"]), (5.0, ["atoms_too_close"] * 2)):
        given = read_given([path], box)
        settings = label_builder(given, label_config("fast")).settings.get_dict()
        assert [reason for reason, _ in refusals(given, settings).values()] == reasons


def test_what_the_label_stage_refuses_is_what_the_preview_says(place, write):
    """The rule stands in two places: they must agree."""
    from aiida_argonaut.workflows.label_alone import label_builder, label_config, refusals
    from aiida_argonaut.workflows.label_structures import read_given
    from aiida_argonaut.workflows.pw_results import pw_inputs

    distances = [0.1, 0.29, 0.3, 0.305, 0.311, 0.32, 0.5]
    given = read_given([write("set.extxyz", *(pair(distance=d, edge=4.0) for d in distances), pair(pbc=False))])
    settings = label_builder(given, label_config("fast")).settings.get_dict()
    sent = pw_inputs(given.configurations, settings)["structures"]
    refused = refusals(given, settings)
    kept = [f"label_{i:03d}" for i, each in enumerate(given.configurations) if each.configuration_id not in refused]
    assert sorted(sent) == kept
    assert 2 <= len(kept) <= len(distances) - 2


def test_a_protocol_is_a_name_or_a_file_and_single_values(tmp_path, monkeypatch):
    from aiida_argonaut.dft_inputs.protocol import load_protocol
    from aiida_argonaut.workflows.config import protocol_request
    from aiida_argonaut.workflows.label_alone import label_config

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("stringency: fast\ndegauss: 1e-2\nkpoints_spacing: 0.5\n")
    assert protocol_request(label_config("stringent")) == load_protocol("stringent")
    mine = protocol_request(label_config("mine.yaml", ["conv_thr_per_atom=1e-9", "kpoints_spacing = 0.4"]))
    assert mine == load_protocol(
        "fast", {"name": "mine", "degauss": 0.01, "kpoints_spacing": 0.4, "conv_thr_per_atom": 1e-9}
    )
    assert protocol_request(label_config("fast", spin="collinear")).spin == "collinear"


def test_cutoffs_are_those_of_all_elements_that_are_named(place, write):
    from aiida import orm

    from aiida_argonaut.workflows.label_alone import label_builder, label_config
    from aiida_argonaut.workflows.label_structures import read_given

    given = read_given([write("h.extxyz", pair())])
    before = count()
    alone = label_builder(given, label_config("fast"))
    both = label_builder(given, label_config("fast"), elements=["He"])
    assert alone.settings["elements"] == ["H"]
    assert both.settings["elements"] == ["H", "He"] == sorted(both.pseudos)
    assert alone.settings["protocol_hash"] != both.settings["protocol_hash"]
    assert alone.settings["cutoffs"] == [25.0, 125.0]
    assert isinstance(alone.code, orm.AbstractCode)
    assert count() == before


def test_a_dry_run_tells_number_protocol_and_price_and_stores_nothing(argonaut, write):
    path = write("set.extxyz", pair(), pair(distance=0.1), pair("HHe", 1.5), pair(pbc=False), pair())
    before = count()
    told = argonaut(path, "--protocol", "fast", "--set", "kpoints_spacing=2.0", "--dry-run", "--json").stdout
    text = argonaut(path, "--protocol", "fast", "--set", "kpoints_spacing=2.0", "--dry-run").stdout
    assert count() == before
    document = json.loads(told)
    assert (document["given"], document["structures"], document["labels"]) == (5, 4, 2)
    refused = [(loss["given"], loss["reason"]) for loss in document["refused"]]
    assert refused == [("set.extxyz#1", "atoms_too_close"), ("set.extxyz#3", "not_periodic")]
    assert document["made_by"]["cutoffs_Ry"] == [25.0, 125.0]
    assert document["made_by"]["changes"] == {"kpoints_spacing": 2.0}
    price = document["price"]
    assert 0 < price["core_hours"]["low"] < price["core_hours"]["expected"] < price["core_hours"]["high"]
    assert price["labels"] == price["jobs"] == 2
    assert price["source"].startswith("2 of these structures by the model")
    assert document["protocol_hash"] in text
    assert "fast with kpoints_spacing=2.0; 25/125 Ry, k spacing 2 1/Å" in text
    assert "--box" in text


def test_the_price_of_many_is_that_of_one_times_their_number(argonaut, write):
    frames = [pair(distance=0.8 + 1e-4 * number, edge=3.0) for number in range(40)]
    one, many = (
        json.loads(argonaut(write(name, *some), "--dry-run", "--json").stdout)["price"]["core_hours"]["expected"]
        for name, some in (("one.extxyz", frames[:1]), ("many.extxyz", frames))
    )
    assert many == pytest.approx(40 * one, rel=1e-6)


REFUSED = {
    "no structures": (["-o", "out.extxyz"], "expected STRUCTURES"),
    "no output": (["good.extxyz"], "expected -o"),
    "another suffix": (["good.extxyz", "-o", "out.xyz"], "ends in .extxyz"),
    "output is an input": (["good.extxyz", "-o", "good.extxyz"], "one of the files to read"),
    "pk and structures": (["good.extxyz", "--pk", "1", "-o", "out.extxyz"], "only -o, --json and -p"),
    "pk and a protocol": (["--pk", "1", "--protocol", "fast", "-o", "out.extxyz"], "only -o, --json and -p"),
    "no such node": (["--pk", "99999", "-o", "out.extxyz"], "no such node"),
    "a large pk": (["--pk", "99999999999999", "-o", "out.extxyz"], "no such node"),
    "no uuid": (["--pk", "never", "-o", "out.extxyz"], "no such node"),
    "not a file": (["nowhere.extxyz", "-o", "out.extxyz"], "nowhere.extxyz"),
    "not a structure": (["text.extxyz", "-o", "out.extxyz"], "text.extxyz"),
    "not a crystal": (["text.cif", "-o", "out.extxyz"], r"text.cif: cannot be read"),
    "one bad frame": (["good.extxyz", "nan.extxyz", "-o", "out.extxyz"], "nan.extxyz#1: positions or cell hold NaN"),
    "two bad frames": (["nan.extxyz", "iron.extxyz", "-o", "out.extxyz"], "nan.extxyz#1.*and 1 more"),
    "no volume": (["flat.extxyz", "-o", "out.extxyz"], "flat.extxyz.*no volume|flat.extxyz.*too flat"),
    "beyond argon": (["iron.extxyz", "-o", "out.extxyz"], "iron.extxyz#0.*outside H-Ar"),
    "not in the family": (["lithium.extxyz", "-o", "out.extxyz"], "no pseudopotential for Li"),
    "elements beyond argon": (["good.extxyz", "--elements", "H,Fe", "-o", "out.extxyz"], "Fe is not among H-Ar"),
    "no such family": (["good.extxyz", "--family", "SSSP", "-o", "out.extxyz"], "no pseudopotential family 'SSSP'"),
    "no such code": (["good.extxyz", "--code", "pw@moon", "-o", "out.extxyz"], "--code: no AiiDA code 'pw@moon'"),
    "no such protocol": (["good.extxyz", "--protocol", "quick", "-o", "out.extxyz"], "fast, balanced, stringent"),
    "a file without stringency": (["good.extxyz", "--protocol", "empty.yaml", "-o", "out.extxyz"], "stringency None"),
    "a wrong key in a file": (["good.extxyz", "--protocol", "wrong.yaml", "-o", "out.extxyz"], "'degaus'.*degauss"),
    "no value": (["good.extxyz", "--set", "degauss", "-o", "out.extxyz"], "expected KEY=VALUE"),
    "a wrong value": (["good.extxyz", "--set", "degauss=-1", "-o", "out.extxyz"], "number above 0"),
    "an infinite value": (["good.extxyz", "--set", "degauss=.inf", "-o", "out.extxyz"], "finite"),
    "a wrong option": (["good.extxyz", "--options", "options.yaml", "-o", "out.extxyz"], "--options.*queue_name"),
    "no jobs": (["good.extxyz", "--max-jobs", "0", "-o", "out.extxyz"], "max-jobs"),
    "a tiny box": (["good.extxyz", "--box", "0", "-o", "out.extxyz"], "box"),
    "none can be labelled": (["hopeless.extxyz", "-o", "out.extxyz"], "none of the 2.*hopeless.extxyz#0.*not_periodic"),
    "no daemon": (["good.extxyz", "-o", "out.extxyz"], "daemon of profile .* is not running; start it with `verdi -p"),
}


def test_a_refusal_is_one_line_and_leaves_nothing(argonaut, write, tmp_path, monkeypatch):
    from aiida_argonaut.workflows.cli import label

    monkeypatch.setattr(label, "daemon_is_running", lambda: False)
    bad = pair()
    bad.positions[0, 0] = np.nan
    flat = pair()
    flat.cell[2] = 0.0
    write("good.extxyz", pair(), pair(distance=0.1))
    write("nan.extxyz", pair(), bad)
    write("flat.extxyz", flat)
    write("iron.extxyz", pair("Fe2", 2.0))
    write("lithium.extxyz", pair("Li2", 2.5))
    write("hopeless.extxyz", pair(pbc=False), pair(distance=0.1))
    files = {"text.extxyz": "hello\n", "text.cif": "hello\n", "empty.yaml": "", "options.yaml": "queue_nam: short\n"}
    for name, text in {**files, "wrong.yaml": "stringency: fast\ndegaus: 0.1\n"}.items():
        (tmp_path / name).write_text(text)
    before, nodes = sorted(tmp_path.rglob("*")), count()
    for case, (words, expected) in REFUSED.items():
        done = argonaut(*words, exit_code=2)
        assert done.stdout == "", case
        assert len(done.stderr.splitlines()) == 1, f"{case}: {done.stderr}"
        assert done.stderr.startswith("argonaut"), f"{case}: {done.stderr}"
        assert re.search(expected, done.stderr), f"{case}: {done.stderr}"
        assert (sorted(tmp_path.rglob("*")), count()) == (before, nodes), case


@pytest.fixture
def chain(place, write, process):
    """chain(labels lost as {index: reason}, ...): a LabelWorkChain as the record holds it after its end."""
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.mlip.dataset import Dataset
    from aiida_argonaut.mlip.frames import LabelledFrame
    from aiida_argonaut.mlip.labelling import loss_document
    from aiida_argonaut.workflows.data import dataset_node
    from aiida_argonaut.workflows.label_alone import label_builder, label_config
    from aiida_argonaut.workflows.label_structures import read_given

    def made(lost=(), rescued=None, state="finished", status=0, account=True):
        one = write("one.extxyz", pair(), pair(distance=0.1), pair("HHe", 1.5))
        given = read_given([one, write("two.extxyz", pair("He2", 2.0), pair())])
        builder = label_builder(given, label_config("fast", ["kpoints_spacing=2.0"]))
        inputs = {"configurations": builder.configurations.store(), "settings": builder.settings.store()}
        pseudos = {f"pseudos__{symbol}": node for symbol, node in builder.pseudos.items()}
        node = process("LabelWorkChain", inputs={**inputs, **pseudos}, state=state, status=status)
        if not account:
            return node
        good = [each for index, each in enumerate(given.configurations) if index not in dict(lost)]
        document = {
            "submitted": len(given.configurations),
            "ok": len(good) - len(rescued or []),
            "lost": [loss_document(given.configurations[i], reason, "in words") for i, reason in dict(lost).items()],
        }
        if rescued is not None:
            document["rescued"] = [
                {"configuration_id": given.configurations[i].configuration_id, "formula": "X", "source": "user",
                 "rung": "local-TF"} for i in rescued
            ]  # fmt: skip
        outputs = {"losses": orm.Dict(document)}
        if good:
            protocol_hash = builder.settings["protocol_hash"]
            frames = [LabelledFrame(c, -float(len(c)), np.zeros((len(c), 3)), None, protocol_hash) for c in good]
            outputs["labels"] = dataset_node(Dataset.from_frames(reversed(frames), builder.settings["protocol"]))
        for name, data in outputs.items():
            data.store().base.links.add_incoming(node, LinkType.RETURN, name)
        return node

    return made


def test_labels_and_account_of_work_that_is_done(argonaut, chain, tmp_path):
    from aiida_argonaut.mlip.frames import read_frames

    node = chain(lost={1: "atoms_too_close"}, rescued=[2])
    done = argonaut("--pk", node.pk, "-o", "deep/out.extxyz", exit_code=1)
    assert "4 submitted = 2 ok + 1 rescued + 1 lost" in done.stdout
    assert "lost one.extxyz#1 H2 (user): atoms_too_close: in words" in done.stdout
    frames = read_frames(tmp_path / "deep/out.extxyz")
    assert [frame.configuration.formula for frame in frames] == ["H2", "HHe", "He2"], "not in the order given"
    assert {frame.protocol_hash for frame in frames} == {node.inputs.settings["protocol_hash"]}
    places = [atoms.info["given"] for atoms in ase.io.read(tmp_path / "deep/out.extxyz", ":")]
    assert places == ["one.extxyz#0", "one.extxyz#2", "two.extxyz#0"]
    account = json.loads((tmp_path / "deep/out.losses.json").read_text())
    assert account["submitted"] == account["ok"] + len(account["rescued"]) + len(account["lost"])
    (loss,), (rescue,) = account["lost"], account["rescued"]
    assert (loss["reason"], loss["given"]) == ("atoms_too_close", ["one.extxyz#1"])
    assert (rescue["rung"], rescue["given"]) == ("local-TF", ["one.extxyz#2"])
    assert account["given_more_than_once"] == [["one.extxyz#0", "two.extxyz#1"]]
    assert account["protocol"] == node.inputs.settings["protocol"]
    assert account["reference_energies"] == pytest.approx({"H": -1.5 * 13.605693, "He": -2.5 * 13.605693}, rel=1e-6)


def test_an_account_without_rescues_is_read_too(argonaut, chain, tmp_path):
    done = argonaut("--pk", chain().pk, "-o", "out.extxyz", "--json")
    account = json.loads(done.stdout)
    assert (account["submitted"], account["ok"], account["rescued"], account["lost"]) == (4, 4, [], [])
    assert account["output"] == "out.extxyz"


def test_where_all_is_lost_no_file_of_labels_is_written(argonaut, chain, tmp_path):
    node = chain(lost=dict.fromkeys(range(4), "scf_not_converged"))
    done = argonaut("--pk", node.pk, "-o", "out.extxyz", exit_code=1)
    assert "no label was made" in done.stdout
    assert not (tmp_path / "out.extxyz").exists()
    assert len(json.loads((tmp_path / "out.losses.json").read_text())["lost"]) == 4


def test_a_chain_that_left_no_account_has_lost_everything(argonaut, chain, tmp_path):
    done = argonaut("--pk", chain(status=421, account=False).pk, "-o", "out.extxyz", exit_code=1)
    account = json.loads((tmp_path / "out.losses.json").read_text())
    assert {loss["reason"] for loss in account["lost"]} == {"infrastructure"}
    assert (account["submitted"], account["ok"], len(account["lost"])) == (4, 0, 4)
    assert "421" in done.stdout


def test_a_chain_that_was_killed_has_no_result(argonaut, chain, tmp_path):
    done = argonaut("--pk", chain(state="killed", account=False).pk, "-o", "out.extxyz", exit_code=1)
    assert "was killed" in done.stderr
    assert not list(tmp_path.glob("out.*"))


def test_what_is_no_label_chain_is_named(argonaut, process):
    done = argonaut("--pk", process("CampaignWorkChain").pk, "-o", "out.extxyz", exit_code=2)
    assert "is a CampaignWorkChain" in done.stderr


def test_the_same_labels_are_not_asked_for_twice_at_a_time(argonaut, chain, write, monkeypatch):
    from aiida_argonaut.workflows.cli import label

    monkeypatch.setattr(label, "daemon_is_running", lambda: True)
    running = chain(state="running", account=False)
    words = ("one.extxyz", "two.extxyz", "--protocol", "fast", "--set", "kpoints_spacing=2.0", "-o", "out.extxyz")
    done = argonaut(*words, exit_code=2)
    assert f"work chain {running.pk} is labelling the same structures" in done.stderr


def test_ctrl_c_says_how_to_go_on(argonaut, chain, monkeypatch):
    from aiida_argonaut.workflows.cli import watching

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "daemon_is_running", interrupted)
    node = chain(state="running", account=False)
    done = argonaut("--pk", node.pk, "-o", "out.extxyz", exit_code=130)
    assert f"work chain {node.pk} goes on without you" in done.stderr
    assert f"--pk {node.pk} -o out.extxyz" in done.stderr


def test_nothing_is_waited_for_that_cannot_come(argonaut, chain, monkeypatch):
    from aiida_argonaut.workflows.cli import watching

    monkeypatch.setattr(watching, "daemon_is_running", lambda: False)
    node = chain(state="running", account=False)
    done = argonaut("--pk", node.pk, "-o", "out.extxyz", exit_code=2)
    assert "stopped" in done.stderr
    assert f"--pk {node.pk}" in done.stderr
