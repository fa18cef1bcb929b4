"""Commands that work on a profile, in surroundings that lack something or with nodes that are none of theirs.

The profiles are made without set-up: no pw.x, no pseudopotentials and no daemon are needed to refuse something.
"""

import os
import re
import sqlite3
import subprocess
import sys

import pytest

MAKE = """
from pathlib import Path
import sys
from aiida import load_profile, orm
from aiida.common.links import LinkType
from aiida_argonaut.workflows.profiles import ensure_profile, ensure_user
from aiida_argonaut.workflows.setup import COMPUTE_CODE, PW_CODE, PW_VERSION, ensure_code, ensure_computer

def quiet(line): pass

for name in ("empty", "argonaut"):
    ensure_profile(name, quiet)
    load_profile(name, allow_switch=True)
    ensure_user()
ensure_computer(quiet)
ensure_code(COMPUTE_CODE, Path(sys.executable).with_name("argonaut"), None, quiet)
ensure_code(PW_CODE, Path("/bin/true"), "quantumespresso.pw", quiet).base.extras.set(PW_VERSION, "6.7")
far = orm.Computer(
    label="far", hostname="far", transport_type="core.local", scheduler_type="core.slurm", workdir="/tmp"
).store()
orm.InstalledCode(label="argonaut", computer=far, filepath_executable="/bin/true").store()

from aiida_argonaut.mlip.dataset import Dataset
from aiida_argonaut.workflows.builder import campaign_builder
from aiida_argonaut.workflows.data import CommitteeData, dataset_node

builder = campaign_builder("campaign.yaml")
settings = builder.settings.get_dict()
dataset = dataset_node(Dataset.load("dataset")).store()
settings["label"]["protocol_hash"] = dataset.base.attributes.get("protocol_hash")

def process(label, caller=None, link="", **inputs):
    node = orm.WorkChainNode()
    node.set_process_label(label)
    node.set_process_state("finished")
    node.set_exit_status(0)
    for port, data in inputs.items():
        node.base.links.add_incoming(data.store(), LinkType.INPUT_WORK, port)
    if caller is not None:
        node.base.links.add_incoming(caller, LinkType.CALL_WORK, link)
    return node.store()

campaign = process("CampaignWorkChain", settings=orm.Dict(settings), seed=builder.seed)
for number in range(2):
    iteration = process("IterationWorkChain", campaign, f"iteration_{number:03d}")
    committee = CommitteeData.from_folder("model")
    outputs = {"plan": orm.Dict({"iteration": number}), "dataset": dataset, "committee": committee}
    for link, node in outputs.items():
        node.store().base.links.add_incoming(iteration, LinkType.RETURN, link)
other = process("PwBaseWorkChain")
print("PKS", campaign.pk, other.pk, dataset.pk)
"""
ASE = "generate: {recipe: recipe.yaml}\nlabel: {labeller: ase}\n"
PW = "generate: {recipe: recipe.yaml}\nlabel: {labeller: quantumespresso}\n"
IRON = '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 energy=1\nFe 0 0 0 0 0 0\n'


def case(words, command, *said, **files):
    """A command line, what its one line must hold, and files to write first."""
    return pytest.param(command, said, {f"{name}.yaml": text for name, text in files.items()}, id=words)


def campaign(words, text, *said, command="launch bad.yaml"):
    """A campaign file that is right, but asks for what is not there."""
    return case(words, command, *said, bad=text)


SURROUNDINGS = [
    case("a profile that does not exist", "launch campaign.yaml -p nobody", "'nobody'", "argonaut setup"),
    case("a profile without codes", "launch campaign.yaml -p empty", "no AiiDA code", "argonaut setup"),
    case("no pseudopotentials", "launch bad.yaml", "no pseudopotential family", "argonaut setup", bad=PW),
    case("no daemon", "launch campaign.yaml", "daemon.*not running", "verdi -p argonaut daemon start"),
    campaign("an unknown code", ASE + "stages: {train: {code: no@where}}", "train", "no@where", "verdi code list"),
    campaign(
        "a computer not configured", ASE + "stages: {train: {code: argonaut@far}}", "far", "verdi computer configure"
    ),
    campaign("an unknown family", PW.replace("o}", "o, family: SSSP}"), "'SSSP'", "aiida-pseudo install"),
    campaign("an option AiiDA has not", ASE + "stages: {train: {options: {walltime: 3}}}", "'walltime'", "options"),
    campaign("resources as text", ASE + "stages: {train: {options: {resources: 4}}}", "resources"),
    campaign(
        "no machine at all",
        ASE + "stages: {train: {options: {resources: {num_machines: 0}}}}",
        "resources",
        "num_machines",
    ),
    campaign(
        "hours for seconds", ASE + "stages: {train: {options: {max_wallclock_seconds: 12h}}}", "max_wallclock_seconds"
    ),
]
OWN = [
    campaign("iron among own data", ASE + "start: {data: iron.extxyz, protocol: same}", "iron.extxyz, frame 0", "Fe"),
    campaign("iron among own structures", ASE + "start: {structures: iron.extxyz}", "iron.extxyz, frame 0", "H-Ar"),
    campaign("own data of unknown protocol", ASE + "start: {data: starts.extxyz}", "starts.extxyz", "no energy"),
    campaign("a dataset there is not", ASE + "start: {data: 99999}", "no node 99999"),
    campaign("a number larger than any node", ASE + f"start: {{data: {10**30}}}", "start"),
    campaign("a dataset for a committee", ASE + "start: {committee: dataset}", "dataset", "not a model folder"),
]
NODES = [
    case("status of text", "status lunch", "lunch", "verdi process list"),
    case("status of a negative number", "status -- -5", "-5", "verdi process list"),
    case("status of nothing", ["status", ""], "verdi process list"),
    case("status of a stranger's node", "status OTHER", "OTHER is a PwBaseWorkChain", "CampaignWorkChain"),
    case("report of a stranger's data", "report DATASET", "DATASET is a DatasetData", "CampaignWorkChain"),
    case("report into a folder", "report CAMPAIGN -o model", "model", "is a directory"),
    case("a report where nothing can be written", "report CAMPAIGN -o /proc/x.html", "/proc", "cannot be written"),
    case("a plot before there is anything", "plot CAMPAIGN -o fresh.png", "no fresh labels"),
    case("a plot where nothing can be written", "plot CAMPAIGN -o /proc/fresh.png", "/proc", "cannot be written"),
    case("resume of a campaign that is done", "resume CAMPAIGN", "done all its iterations", "stop.iterations"),
    case("resume with half a setting", "resume CAMPAIGN --set stop", "--set stop", "KEY=VALUE"),
    case("resume with an unknown key", "resume CAMPAIGN --set stop.iteration=9", "'iteration'", "'iterations'"),
    case("resume with text for a number", "resume CAMPAIGN --set stop.iterations=many", "iterations", "'many'"),
    case("resume with a key below a number", "resume CAMPAIGN --set seed.x=1", "'x'"),
    case("resume without a daemon", "resume CAMPAIGN --set stop.iterations=9", "daemon", "daemon start"),
    case("repair of a stranger's node", "repair OTHER", "PwBaseWorkChain"),
    case("audit of a node there is not", "audit 99999", "99999", "no such node"),
    case("follow a node there is not", "follow 99999", "99999", "no such node"),
    case("set-up for a pw.x there is not", "setup --profile new --pw /no/pw.x", "/no/pw.x", "no such executable"),
    case("set-up with rubbish for a database", "setup --profile new --postgres rubbish", "--postgres", "postgresql://"),
    case("set-up with rubbish for a broker", "setup --profile new --rabbitmq http://x", "--rabbitmq", "amqp"),
    case("set-up with a password to be seen", "setup --postgres postgresql://a:b@c/d", "password", "PGPASSWORD"),
    case("status of a number larger than any node", f"status {10**30}", "verdi process list"),
    case("set-up for what is not pw.x", "setup --profile new --pw /bin/true", "true: no banner", "from pw.x"),
    case("a demo of a broken file", "demo bad.yaml --folder demo", "bad.yaml", "'lable'", bad="lable: {}"),
]


@pytest.fixture(scope="module")
def profiles(good_files, tmp_path_factory):
    """An AIIDA_PATH with two profiles, and the pks of what one of them holds."""
    place = tmp_path_factory.mktemp("profiles")
    environment = {**os.environ, "AIIDA_PATH": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", MAKE], cwd=good_files, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pks = re.search(r"PKS (\d+) (\d+) (\d+)", done.stdout).groups()
    return place, dict(zip(("CAMPAIGN", "OTHER", "DATASET"), pks, strict=True))


def recorded(place):
    """Nodes, links and groups in every database below a folder, and its profiles."""
    tables = ("db_dbnode", "db_dblink", "db_dbgroup", "db_dbcomputer")
    counts = {}
    for database in place.rglob("database.sqlite"):
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            counts[database] = [connection.execute(f"select count(*) from {table}").fetchone() for table in tables]
    return counts, (place / ".aiida" / "config.json").read_text()


@pytest.fixture
def inside(profiles, monkeypatch):
    """This process looks at the module's profiles, as a new one would."""
    from aiida.manage import get_manager
    from aiida.manage.configuration import reset_config
    from aiida.manage.configuration.settings import AiiDAConfigDir

    def look_at(folder):
        get_manager().unload_profile()
        AiiDAConfigDir.set(folder)
        reset_config()

    before = AiiDAConfigDir.get()
    monkeypatch.setenv("AIIDA_PATH", str(profiles[0]))
    look_at(profiles[0] / ".aiida")
    yield
    look_at(before)


@pytest.fixture
def unchanged(profiles, folder, refused):
    """refused(), for commands on the module's profiles: PK names become pks, and the record stays as it is."""
    place, pks = profiles
    (folder / "iron.extxyz").write_text(IRON)

    def checked(command, said, files, **keywords):
        for name, pk in pks.items():
            command = command.replace(name, pk) if isinstance(command, str) else command
            said = [pattern.replace(name, pk) for pattern in said]
        before = recorded(place)
        refused(command, said, files, **keywords)
        assert recorded(place) == before

    return checked


@pytest.mark.slow
@pytest.mark.parametrize(("command", "said", "files"), SURROUNDINGS[4:] + OWN + NODES)
def test_what_is_not_there_is_told(command, said, files, inside, unchanged):
    unchanged(command, said, files)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "said", "files"), [*SURROUNDINGS[:4], OWN[0], NODES[4]])
def test_as_a_user_types_it(command, said, files, profiles, unchanged):
    unchanged(command, said, files, environment={"AIIDA_PATH": str(profiles[0])})


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        pytest.param({}, "argonaut setup", id="no AiiDA configuration at all"),
        pytest.param({"AIIDA_PATH": "recipe.yaml"}, "recipe.yaml", id="AIIDA_PATH is a file"),
        pytest.param({"AIIDA_PATH": "/proc/none"}, "/proc/none", id="AIIDA_PATH where nothing can be written"),
        pytest.param({"AIIDA_PATH": None, "HOME": "/proc/none"}, "/proc/none", id="no home"),
    ],
)
@pytest.mark.parametrize("command", ["launch campaign.yaml", "status 1", "setup --pw /no/pw.x"])
def test_surroundings_without_aiida(command, environment, said, refused, tmp_path):
    if command.startswith("setup"):
        said = f"{said}|no/pw.x"
    refused(command, (said,), environment={"AIIDA_PATH": str(tmp_path), **environment})
