"""What a set-up with PostgreSQL or RabbitMQ cannot do ends in one line and exit code 2, and leaves nothing behind."""

import json
from pathlib import Path

import pytest

from aiida_argonaut.workflows.postgres import PostgresServer, SetupError, storage
from aiida_argonaut.workflows.profiles import RabbitmqServer, postgres_server, rabbitmq_server

WRONG = "wrong-" + "5be3"
DATABASES = """
CREATE DATABASE empty OWNER aiida ENCODING 'UTF8' TEMPLATE template0
CREATE DATABASE latin OWNER aiida ENCODING 'LATIN1' TEMPLATE template0
CREATE DATABASE foreigner OWNER postgres ENCODING 'UTF8' TEMPLATE template0
CREATE DATABASE full_of_flowers OWNER aiida ENCODING 'UTF8' TEMPLATE template0
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://", PostgresServer("localhost", 5432, "postgres", None)),
        ("postgresql://aiida@db.example.org", PostgresServer("db.example.org", 5432, "aiida", None)),
        ("postgres://a-b.c@h:77/d_e", PostgresServer("h", 77, "a-b.c", "d_e")),
    ],
)
def test_an_address_of_postgresql_says_only_what_is_unusual(given, expected):
    assert postgres_server(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("amqp://", RabbitmqServer("amqp", "guest", "127.0.0.1", 5672, "")),
        ("amqps://me@h", RabbitmqServer("amqps", "me", "h", 5671, "")),
        ("amqp://me@h:77/a%2Fb", RabbitmqServer("amqp", "me", "h", 77, "a%2Fb")),
    ],
)
def test_an_address_of_rabbitmq_says_only_what_is_unusual(given, expected):
    assert rabbitmq_server(given) == expected


@pytest.mark.parametrize("read", [postgres_server, rabbitmq_server])
@pytest.mark.parametrize(
    "given",
    ["localhost", "http://h", "{}://h:port/d", "{}://h:99999/d", "{}://h/d?sslmode=require", f"me:{WRONG}@h:5432/d"],
)
def test_what_is_no_address_is_refused(read, given):
    scheme = "postgresql" if read is postgres_server else "amqp"
    with pytest.raises(SetupError, match=f"expected {scheme}://USER@HOST:PORT") as caught:
        read(given.format(scheme))
    assert WRONG not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "given", "variable"),
    [
        (postgres_server, f"postgresql://me:{WRONG}@h/d", "PGPASSWORD"),
        (rabbitmq_server, f"amqp://me:{WRONG}@h", "AIIDA_BROKER_PASSWORD"),
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(read, given, variable):
    with pytest.raises(SetupError, match=variable) as caught:
        read(given)
    assert WRONG not in str(caught.value)


def test_a_name_that_aiida_would_break_an_address_with_is_refused():
    with pytest.raises(SetupError, match="letters, digits"):
        postgres_server("postgresql://a%40b@h/d")


@pytest.fixture(scope="module")
def databases(postgres):
    """Databases that a set-up cannot use, beside one that it can."""
    for line in DATABASES.strip().splitlines():
        postgres.run(line)
    postgres.run("CREATE TABLE flowers (name text); ALTER TABLE flowers OWNER TO aiida", "full_of_flowers")
    return postgres


@pytest.fixture
def newcomer(new_deployment, tmp_path):
    """A folder without any profile, and executables that say which version they are and do nothing."""
    made = new_deployment(tmp_path)
    for name in ("pw.x", "ld1.x"):
        (tmp_path / name).write_text("#!/bin/sh\necho '     Program PWSCF v.6.7MaX starts'\n")
        (tmp_path / name).chmod(0o755)
    return made


def inventory(postgres):
    """All roles and databases, and all tables of the databases that the tests made."""
    found = postgres.run("SELECT rolname FROM pg_roles") + postgres.run("SELECT datname FROM pg_database")
    names = [line.split()[2] for line in DATABASES.strip().splitlines()]
    return found, [postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name) for name in names]


def refused(deployment, *options):
    """Run a set-up that has to fail in one line, without a password in it; return that line."""
    done = deployment.run("argonaut", "setup", "--pw", deployment.folder / "pw.x", *options, exit_code=2)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for variable in ("PGPASSWORD", "AIIDA_BROKER_PASSWORD"):
        assert deployment.environment[variable] not in done.stdout + done.stderr
    return done.stderr


def nothing_is_there(deployment):
    """No profile, no files of a profile."""
    config = json.loads((deployment.folder / ".aiida" / "config.json").read_text())
    files = deployment.folder / ".aiida" / "repository"
    return config["profiles"] == {} and (not files.is_dir() or list(files.iterdir()) == [])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql://aiida@127.0.0.1:1/empty", "start the server"),
        ("postgresql://aiida@127.0.0.1:{port}", "permission denied"),
        ("postgresql://aiida@127.0.0.1:{port}/nowhere", 'database "nowhere" does not exist'),
        ("postgresql://aiida@127.0.0.1:{port}/latin", "expected UTF8"),
        ("postgresql://aiida@127.0.0.1:{port}/foreigner", "no right to make tables"),
        ("postgresql://aiida@127.0.0.1:{port}/full_of_flowers", "tables that are not AiiDA's"),
    ],
    ids=["no server", "no right to create", "no database", "encoding", "no right to tables", "not empty"],
)
def test_a_database_that_cannot_serve(databases, newcomer, address, expected):
    before = inventory(databases)
    assert expected in refused(newcomer, "--postgres", address.format(port=databases.port))
    assert inventory(databases) == before
    assert nothing_is_there(newcomer)


def test_a_wrong_password_of_the_database(databases, newcomer):
    newcomer.environment["PGPASSWORD"] = WRONG
    line = refused(newcomer, "--postgres", f"postgresql://aiida@127.0.0.1:{databases.port}/empty")
    assert 'password authentication failed for user "aiida"' in line
    assert "PGPASSWORD" in line
    assert nothing_is_there(newcomer)


@pytest.mark.parametrize(
    ("port", "password", "expected"), [("1", None, "start the server"), (None, WRONG, "AIIDA_BROKER_PASSWORD")]
)
def test_without_its_broker_no_database_is_made(databases, rabbitmq, newcomer, admin, port, password, expected):
    before = inventory(databases)
    newcomer.environment["PGPASSWORD"] = admin
    newcomer.environment["AIIDA_BROKER_PASSWORD"] = password or "any-" + "82d1"
    address = ("--postgres", f"postgresql://127.0.0.1:{databases.port}")
    line = refused(newcomer, *address, "--rabbitmq", f"amqp://aiida@127.0.0.1:{port or rabbitmq.port}")
    assert "no RabbitMQ at" in line
    assert expected in line
    assert inventory(databases) == before
    assert nothing_is_there(newcomer)


@pytest.mark.parametrize("database", [None, "empty"], ids=["a new database", "a given database"])
def test_what_aiida_cannot_fill_is_taken_back(databases, newcomer, admin, database):
    before = inventory(databases)
    (newcomer.folder / ".aiida").mkdir()
    (newcomer.folder / ".aiida" / "repository").write_text("in the way of the files that AiiDA makes first")
    address = f"postgresql://aiida@127.0.0.1:{databases.port}/empty"
    if database is None:
        address, newcomer.environment["PGPASSWORD"] = f"postgresql://127.0.0.1:{databases.port}", admin
    assert "AiiDA cannot make profile argonaut" in refused(newcomer, "--postgres", address)
    assert inventory(databases) == before
    assert nothing_is_there(newcomer)


@pytest.mark.parametrize("database", [None, "empty"], ids=["a new database", "a given database"])
def test_what_is_interrupted_when_all_is_made_is_taken_back(databases, admin, password, database):
    from urllib.parse import urlsplit

    from aiida.manage.configuration import Profile
    from aiida.storage.psql_dos.backend import PsqlDosBackend

    before = inventory(databases)
    server = PostgresServer("127.0.0.1", databases.port, "aiida" if database else "postgres", database)
    files = []

    def interrupted():
        with storage(server, password if database else admin, "interrupted", lambda line: None) as config:
            made = {"storage": {"backend": "core.psql_dos", "config": config}, "process_control": {"backend": None}}
            assert PsqlDosBackend.initialise(Profile("interrupted", made))
            files.append(Path(urlsplit(config["repository_uri"]).path))
            assert files[0].is_dir()
            assert inventory(databases) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert inventory(databases) == before
    assert not files[0].exists()
