"""Real servers for the tests: PostgreSQL and RabbitMQ of the Debian packages, in temporary folders, on loopback."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = "`apt-get install postgresql rabbitmq-server`"
POSTGRES_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""What /usr/sbin/rabbitmq-server starts as the user rabbitmq; it runs as any user."""
ADMIN = "admin-" + "1f0a2b"
USER = "user-" + "77c9de"
"""Passwords of the test servers, to be looked for in whatever commands say."""


@dataclass(frozen=True)
class Server:
    """A running server: its port and a way to run its own commands, whose output is returned."""

    port: int
    run: object


def free_ports(number):
    """Ports on which nobody listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def stopped_at_the_end(*command, grace=30, **keywords):
    """A program that runs while the block does."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **keywords)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(ready, process, log, seconds=60):
    """Wait until `ready()`; a program that ended before, or is too slow, fails the test with its log."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"{process.args[0]} is not ready:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.2)


@pytest.fixture(scope="session")
def admin():
    """Password of PostgreSQL's superuser."""
    return ADMIN


@pytest.fixture(scope="session")
def password():
    """Password of the user aiida of both servers."""
    return USER


@pytest.fixture(scope="session")
def new_deployment(deployments):
    """Make a deployment in a folder, with the passwords of the user aiida in its environment."""

    def made(folder):
        deployment = deployments(folder)
        deployment.environment.update(PGPASSWORD=USER, AIIDA_BROKER_PASSWORD=USER)
        return deployment

    return made


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server with passwords; `run(sql)` as its superuser. Not as root, which PostgreSQL refuses."""
    if not POSTGRES_PROGRAMS:
        pytest.skip(f"no PostgreSQL server in /usr/lib/postgresql; {PACKAGES}")
    programs, folder = POSTGRES_PROGRAMS[-1].parent, Path(tempfile.mkdtemp(prefix="argonaut-postgres-"))
    owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    (folder / "password").write_text(ADMIN)
    if owner:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    (port,), log = free_ports(1), folder / "log"
    made = [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "scram-sha-256", "--no-sync",
            "--no-locale", "--pwfile", folder / "password"]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True, cwd=folder, **owner)
    options = ("-D", folder / "data", "-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")

    def run(sql, database="postgres"):
        address = f"postgresql://postgres@127.0.0.1:{port}/{database}"
        command = [programs / "psql", "-qtA", "-v", "ON_ERROR_STOP=1", "-c", sql, address]
        environment = {**os.environ, "PGPASSWORD": ADMIN}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    def ready():
        address = ("-h", "127.0.0.1", "-p", str(port))
        return subprocess.run([programs / "pg_isready", "-q", *address], check=False).returncode == 0

    try:
        with log.open("w") as said, stopped_at_the_end(
            programs / "postgres", *options, stdout=said, stderr=said, cwd=folder, **owner
        ) as process:  # fmt: skip
            wait_for(ready, process, log)
            run(f"CREATE ROLE aiida LOGIN PASSWORD '{USER}'")
            yield Server(port, run)
            process.send_signal(2)  # SIGINT: do not wait for clients
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq():
    """A RabbitMQ server with an Erlang port mapper and a user of its own; `run(word, ...)` is rabbitmqctl."""
    if not RABBITMQ_SERVER.is_file():
        pytest.skip(f"no RabbitMQ server in {RABBITMQ_SERVER.parent}; {PACKAGES}")
    folder = Path(tempfile.mkdtemp(prefix="argonaut-rabbitmq-"))
    port, distribution, mapper = free_ports(3)
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\nconsumer_timeout = 36000000000\n")
    (folder / "enabled_plugins").write_text("[].\n")
    environment = {
        **os.environ,
        "HOME": str(folder),  # the Erlang cookie is made there
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"argonaut-{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    control, log = RABBITMQ_SERVER.with_name("rabbitmqctl"), folder / "said"

    def run(*words, check=True):
        command = [str(control), "--quiet", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def ready():
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    try:
        with ExitStack() as stack:
            said = stack.enter_context(log.open("w"))
            spoken = {"stdout": said, "stderr": said, "env": environment, "cwd": folder}
            stack.enter_context(stopped_at_the_end("epmd", "-address", "127.0.0.1", "-port", mapper, **spoken))
            process = stack.enter_context(stopped_at_the_end(RABBITMQ_SERVER, **spoken))
            wait_for(ready, process, log)
            run("add_user", "aiida", USER)
            run("set_permissions", "aiida", ".*", ".*", ".*")
            yield Server(port, run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
