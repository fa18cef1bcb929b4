"""A campaign with PostgreSQL and RabbitMQ, as a user runs it, through the death of a worker and of the whole daemon."""

import json
import os
import shutil
import signal
import tempfile

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.dft, pytest.mark.timeout(900)]

CAMPAIGN = {
    "seed": 5,
    "generate": {
        "recipe": {"source": "packing", "elements": ["H", "He"], "atoms": [2, 2], "minimum_distance_ratio": [0.9, 1.0]},
        "seed_set": 3,
        "starts": 2,
    },
    "label": {"labeller": "ase", "parameters": {"sigma": 0.6, "epsilon": 0.1, "rc": 4.0}, "shard_size": 2},
    "train": {"members": 2, "steps": 5, "records": 1},
    "explore": {"dataset_starts": 1, "steps": 4, "min_steps": 2, "sample_interval": 2},
    "select": {"count": 2, "random_fraction": 0.5},
    "stop": {"iterations": 1},
}
MAKE = """
import os
from aiida_argonaut.workflows.profiles import ensure_profile, postgres_server, rabbitmq_server
database, broker = os.environ["DATABASE"], os.environ["BROKER"]
ensure_profile("argonaut", print, postgres_server(database) if database else None,
               rabbitmq_server(broker) if broker else None)
"""
SPENDING = """
from aiida import load_profile
from aiida_argonaut.provenance_db import queries, spending
load_profile()
jobs = spending.jobs(queries.chain(queries.load_campaign({pk})))
print(len(jobs), spending.core_seconds(jobs))
"""
ATTEMPTS = """
import json
from aiida import load_profile, orm
load_profile()
from aiida_argonaut.provenance_db import queries, spending
pieces = dict()
for job in spending.jobs(queries.chain(queries.load_campaign({pk}))):
    node = orm.load_node(job.pk)
    link = node.base.links.get_incoming(node_class=orm.WorkChainNode).one()
    piece = f"{{link.node.pk}} {{link.link_label.split('_attempt_')[0]}}"
    said = [node.exit_status, sorted(node.outputs), node.base.caching.is_valid_cache]
    pieces.setdefault(piece, []).append(said)
print(json.dumps(pieces))
"""


@pytest.fixture(scope="module")
def served(postgres, rabbitmq, new_deployment, admin):
    """A deployment with both servers and a running daemon of two workers."""
    if shutil.which("pw.x") is None:
        pytest.skip("pw.x is not on PATH; `make test` installs it")
    made = new_deployment(tempfile.mkdtemp(prefix="argonaut-services-"))
    made.environment["PGPASSWORD"] = admin
    made.addresses = (
        "--postgres", f"postgresql://127.0.0.1:{postgres.port}", "--rabbitmq", f"amqp://aiida@127.0.0.1:{rabbitmq.port}"
    )  # fmt: skip
    try:
        made.said = made.run("argonaut", "setup", *made.addresses).stdout
        for variable in ("PGPASSWORD", "AIIDA_BROKER_PASSWORD"):
            assert made.environment.pop(variable) not in made.said  # from here on the profile knows its own
        made.run("verdi", "daemon", "start", "2")
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.folder, ignore_errors=True)


def workers(deployment):
    """Process ids of the daemon's workers."""
    lines = deployment.run("verdi", "daemon", "status").stdout.splitlines()
    return {int(line.split()[0]) for line in lines if line.strip()[:1].isdigit()}


@pytest.fixture(scope="module")
def campaign(served):
    """pk of a campaign that met both deaths and was followed to its end."""
    path = served.folder / "noble.yaml"
    path.write_text(yaml.safe_dump(CAMPAIGN))
    pk = served.launch(path)
    served.until(pk, lambda summary: summary["iterations"] and summary["iterations"][0]["labels"])
    before = workers(served)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    served.until(pk, lambda summary: len(summary["iterations"]) == 2)
    after = workers(served)
    assert len(after) == 2
    assert after != before, "the daemon has to put a new worker in the place of the dead one"
    daemon = int((served.folder / ".aiida" / "daemon" / "circus-argonaut.pid").read_text())
    for process in (daemon, *after):
        os.kill(process, signal.SIGKILL)
    served.run("verdi", "daemon", "start", "2")
    served.run("argonaut", "follow", pk)
    return pk


def test_status_says_which_servers_serve(served):
    said = served.run("verdi", "status").stdout
    assert "postgresql+psycopg://aiida-argonaut:***@127.0.0.1" in said
    assert "RabbitMQ v" in said
    assert "Daemon is running" in said


def test_what_rabbitmq_needs_is_said_where_it_is_needed(served, rabbitmq):
    newer = tuple(int(part) for part in rabbitmq.run("version").strip().split(".")) >= (3, 8, 15)
    assert newer == ("consumer_timeout" in served.said)


def test_the_campaign_ends_well_with_nothing_lost_or_done_twice(served, campaign):
    summary = served.status(campaign)
    assert (summary["state"], summary["exit_status"]) == ("finished", 0)
    assert [entry["labels"]["submitted"] for entry in summary["iterations"]] == [3, 2]
    for entry in summary["iterations"]:
        assert entry["labels"]["ok"] + len(entry["labels"]["lost"]) == entry["labels"]["submitted"]
        assert entry["members_trained"] == {"ok": 2, "waiting": 0}
    assert summary["iterations"][1]["errors"]["before"]["forces_rmse_meV_per_A"] > 0
    assert "0 nodes without provenance" in served.run("argonaut", "audit", campaign).stdout


def test_what_was_spent_can_be_asked_of_postgresql(served, campaign):
    number, seconds = served.run("python", "-c", SPENDING.format(pk=campaign)).stdout.split()
    pieces = json.loads(served.run("python", "-c", ATTEMPTS.format(pk=campaign)).stdout)
    assert int(number) == sum(map(len, pieces.values()))
    assert float(seconds) > 0


def test_only_what_a_death_has_spoiled_was_done_again(served, campaign):
    pieces = json.loads(served.run("python", "-c", ATTEMPTS.format(pk=campaign)).stdout)
    first, later = 1 + 2 + 2 + 1, 1 + 1 + 1 + 1 + 2 + 1  # generate, (explore, select,) label, train, evaluate
    assert len(pieces) == first + later
    for *spoiled, (status, _, _) in pieces.values():
        assert status == 0, pieces
        assert len(spoiled) <= 1, pieces
        assert not any(valid for _, _, valid in spoiled), pieces


def test_a_second_set_up_keeps_the_profile_and_needs_no_password(served, campaign):
    configuration = served.folder / ".aiida" / "config.json"
    before = json.loads(configuration.read_text())
    for options in ((), served.addresses):
        said = served.run("argonaut", "setup", *options).stdout
        assert "made" not in said
        assert json.loads(configuration.read_text()) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--postgres", "postgresql://aiida@127.0.0.1/other"), "--profile NAME"),
        (("--rabbitmq", "amqp://me@127.0.0.1:1"), "configure-broker"),
    ],
)
def test_an_existing_profile_does_not_change_servers(served, options, expected):
    line = served.run("argonaut", "setup", *options, exit_code=2).stderr
    assert len(line.splitlines()) == 1
    assert "profile argonaut exists" in line
    assert expected in line


@pytest.mark.parametrize("given", ["database", "broker"])
def test_each_server_is_a_choice_of_its_own(postgres, rabbitmq, new_deployment, tmp_path, given):
    made = new_deployment(tmp_path)
    name = f"one_{given}"
    postgres.run(f"CREATE DATABASE {name} OWNER aiida ENCODING 'UTF8' TEMPLATE template0")
    addresses = {"DATABASE": f"postgresql://aiida@127.0.0.1:{postgres.port}/{name}", "BROKER": ""}
    if given == "broker":
        addresses = {"DATABASE": "", "BROKER": f"amqp://aiida@127.0.0.1:{rabbitmq.port}"}
    made.environment.update(addresses)
    made.run("python", "-c", MAKE)
    profile = json.loads((tmp_path / ".aiida" / "config.json").read_text())["profiles"]["argonaut"]
    backends = (profile["storage"]["backend"], profile["process_control"]["backend"])
    assert backends == (
        ("core.psql_dos", "core.zeromq") if given == "database" else ("core.sqlite_dos", "core.rabbitmq")
    )
    if given == "database":
        postgres.run(f"ALTER DATABASE {name} RENAME TO elsewhere")
        line = made.run("argonaut", "setup", exit_code=2).stderr
        assert "profile argonaut cannot be opened" in line
        assert f'database "{name}" does not exist' in line
        assert len(line.splitlines()) == 1
    else:
        line = made.run("argonaut", "setup", "--postgres", exit_code=2).stderr
        assert "keeps its record in SQLite" in line
        assert "verdi archive" in line
