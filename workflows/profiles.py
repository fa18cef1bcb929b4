"""Profiles: SQLite or PostgreSQL keeps the record, ZeroMQ or RabbitMQ carries the tasks; made once, or not at all."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from . import postgres
from .postgres import PostgresServer, SetupError

SQLITE, PSQL = "core.sqlite_dos", "core.psql_dos"
ZEROMQ, RABBITMQ = "core.zeromq", "core.rabbitmq"
TOLD = {SQLITE: "SQLite", PSQL: "PostgreSQL", ZEROMQ: "the ZeroMQ broker", RABBITMQ: "RabbitMQ"}
POSTGRES_PASSWORD = "PGPASSWORD"
"""Environment variable of PostgreSQL's own commands."""
RABBITMQ_PASSWORD = "AIIDA_BROKER_PASSWORD"
"""Environment variable of AiiDA's own commands."""
POSTGRES_URL = "postgresql://USER@HOST:PORT/DATABASE"
RABBITMQ_URL = "amqp://USER@HOST:PORT/VIRTUAL_HOST (or amqps://)"
PLAIN = re.compile(r"[\w.-]+")
"""Names that AiiDA can put into the address of a server as they are."""
LONG_TASKS = (3, 8, 15)
"""Version of RabbitMQ since which a task is taken away from a worker that has not ended it within consumer_timeout."""
PATIENCE = 10
"""Seconds to wait for a server's answer."""


@dataclass(frozen=True)
class RabbitmqServer:
    """A RabbitMQ server and who logs in; the defaults are those of a server on this computer."""

    protocol: str = "amqp"
    user: str = "guest"
    host: str = "127.0.0.1"
    port: int = 5672
    virtual_host: str = ""

    def __str__(self) -> str:
        return f"{self.protocol}://{self.user}@{self.host}:{self.port}/{self.virtual_host}"


def postgres_server(url: str) -> PostgresServer:
    """The server that --postgres names; what the address leaves out is that of a usual server on this computer."""
    parts = _parts("--postgres", url, ("postgresql", "postgres"), POSTGRES_URL, POSTGRES_PASSWORD)
    usual = PostgresServer()
    server = PostgresServer(
        parts.hostname or usual.host, parts.port or usual.port, unquote(parts.username or usual.user),
        unquote(parts.path.strip("/")) or None,
    )  # fmt: skip
    for name in (server.user, server.database or server.user):
        if not PLAIN.fullmatch(name):
            raise SetupError(f"--postgres: AiiDA cannot use the name {name!r}; expected letters, digits and `_-.`")
    return server


def rabbitmq_server(url: str) -> RabbitmqServer:
    """The server that --rabbitmq names; what the address leaves out is that of a usual server on this computer."""
    parts = _parts("--rabbitmq", url, ("amqp", "amqps"), RABBITMQ_URL, RABBITMQ_PASSWORD)
    usual = RabbitmqServer()
    port = parts.port or (5671 if parts.scheme == "amqps" else usual.port)
    user = unquote(parts.username or usual.user)
    return RabbitmqServer(parts.scheme, user, parts.hostname or usual.host, port, parts.path.removeprefix("/"))


def _parts(option: str, url: str, schemes: tuple[str, ...], expected: str, variable: str) -> SplitResult:
    """The address in parts; SetupError, which never repeats it, if it is none or has a password in it."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # checked when it is read
    except ValueError:
        parts = urlsplit("")
    if parts.password is not None:
        raise SetupError(f"{option}: others can read a password on a command line; give it in {variable} instead")
    if parts.scheme not in schemes or parts.query or parts.fragment:
        raise SetupError(f"{option}: expected {expected}, of which all but the first word may be left out")
    return parts


def ensure_profile(
    name: str,
    say: Callable[[str], None],
    database: PostgresServer | None = None,
    broker: RabbitmqServer | None = None,
) -> None:
    """Make the profile if it does not exist; one that exists is kept as it is.

    :param database: None is SQLite, which needs no server.
    :param broker: None is AiiDA's ZeroMQ broker, which needs no server.
    :raises SetupError: if a server does not serve, or the profile exists with other servers; nothing is left behind.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")
        from aiida.manage.configuration import get_config

        config = get_config(create=True)
    if name in config.profile_names:
        refuse_another(config.get_profile(name), database, broker)
        say(f"profile {name} exists")
        return
    tasks = (ZEROMQ, {}) if broker is None else (RABBITMQ, rabbitmq_config(broker, name, say))
    with _storage(name, database, say) as record:
        _create(name, record, tasks)
    if database is None:
        _write_ahead(config.get_profile(name))
    kept = TOLD[SQLITE] if database is None else f"{TOLD[PSQL]} {record[1]['database_name']}"
    say(f"made profile {name} ({kept}, {TOLD[tasks[0]]})")


def _storage(name: str, database: PostgresServer | None, say: Callable[[str], None]) -> Any:
    """Context with the storage backend and its configuration; on an error what was made for it is removed."""
    if database is None:
        return nullcontext((SQLITE, {}))
    if not PLAIN.fullmatch(name):
        raise SetupError(f"--profile {name!r}: with PostgreSQL, expected letters, digits and `_-.`")
    password = secret(POSTGRES_PASSWORD, f"password of {database.user} at PostgreSQL (empty for none): ")
    return _psql(postgres.storage(database, password, name, say))


@contextmanager
def _psql(made: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    with made as config:
        yield PSQL, config


def _create(name: str, storage: tuple[str, dict[str, Any]], broker: tuple[str, dict[str, Any]]) -> None:
    """A profile with its user; on an error it is taken out of the configuration again."""
    from aiida.common.exceptions import AiidaException
    from aiida.manage import get_manager
    from aiida.manage.configuration import create_profile, get_config
    from aiida.plugins import BrokerFactory

    config = get_config()
    settings = {**BrokerFactory(broker[0]).get_default_config(), **broker[1]}
    try:
        create_profile(
            config, name=name, email="aiida@localhost", storage_backend=storage[0], storage_config=storage[1],
            broker_backend=broker[0], broker_config=settings,
        )  # fmt: skip
        config.set_option("runner.poll.interval", 1, scope=name)
        if config.default_profile_name is None:
            config.set_default_profile(name)
        config.store()
    except BaseException as error:
        get_manager().unload_profile()
        if name in config.profile_names:
            config.remove_profile(name)
            config.store()
        if isinstance(error, AiidaException):
            raise SetupError(f"AiiDA cannot make profile {name}: {' '.join(str(error).split())[:300]}") from error
        raise


def _write_ahead(profile: Any) -> None:
    """Give SQLite its write-ahead log, which the file remembers: readers and a writer then do not wait for each other.

    Without it, whoever meets a write that a slow disk holds up for 5 s ends with "database is locked".
    """
    path = Path(profile.storage_config["filepath"]) / "database.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def refuse_another(profile: Any, database: PostgresServer | None, broker: RabbitmqServer | None) -> None:
    """SetupError if a profile that exists has another storage or broker than was asked for; None asks for none."""
    name, record, tasks = profile.name, _record(profile), _tasks(profile)
    if database is not None and database.database is None and isinstance(record, PostgresServer):
        database = replace(record, host=database.host, port=database.port)  # asked for one of its own: that is it
    if database is not None and database != record:
        raise SetupError(
            f"profile {name} exists and keeps its record in {record}, not in {database}; make another one with "
            "`--profile NAME` and move the record with `verdi archive` (docs/services.md)"
        )
    if broker is not None and broker != tasks:
        raise SetupError(
            f"profile {name} exists and has {tasks}, not {broker}; `verdi -p {name} daemon stop`, `verdi profile "
            f"configure-broker core.rabbitmq {name}` and `verdi -p {name} process repair` change that"
        )


def _record(profile: Any) -> PostgresServer | str:
    """Where a profile that exists keeps its record."""
    if profile.storage_backend != PSQL:
        return TOLD.get(profile.storage_backend, str(profile.storage_backend))
    return PostgresServer(
        *(profile.storage_config[f"database_{key}"] for key in ("hostname", "port", "username", "name"))
    )


def _tasks(profile: Any) -> RabbitmqServer | str:
    """What carries the tasks of a profile that exists."""
    if profile.process_control_backend != RABBITMQ:
        return TOLD.get(profile.process_control_backend, "no broker")
    keys = ("protocol", "username", "host", "port", "virtual_host")
    return RabbitmqServer(*(profile.process_control_config[f"broker_{key}"] for key in keys))


def secret(variable: str, prompt: str, usual: str | None = None) -> str | None:
    """A password from the environment, the usual one or, where a person sits, asked for without an echo."""
    if usual is None and sys.stdin.isatty() and variable not in os.environ:
        return getpass.getpass(prompt)
    return os.environ.get(variable, usual)


def rabbitmq_config(server: RabbitmqServer, profile: str, say: Callable[[str], None]) -> dict[str, Any]:
    """AiiDA's configuration of the broker, tried out; says what a newer version needs for long tasks."""
    usual = "guest" if server.user == "guest" else None
    password = secret(RABBITMQ_PASSWORD, f"password of {server.user} at RabbitMQ: ", usual) or ""
    config = {
        "protocol": server.protocol, "username": server.user, "password": password, "host": server.host,
        "port": server.port, "virtual_host": server.virtual_host,
    }  # fmt: skip
    try:
        version = asyncio.run(_rabbitmq_version(config))
    except Exception as error:  # noqa: BLE001 - whatever it is, the server does not serve
        reason = " ".join(str(error).replace(password or "***", "***").split()) or type(error).__name__
        if "Connection.Close" in reason:  # all that the client says of an address that ends in the wrong name
            reason = f"{server.user} has no right to a virtual host {server.virtual_host!r}"
        raise SetupError(
            f"no RabbitMQ at {server}: {reason[:300]}; start the server, or give --rabbitmq {RABBITMQ_URL} and the "
            f"password in {RABBITMQ_PASSWORD}"
        ) from None
    if tuple(int(digits) for digits in re.findall(r"\d+", version)[:3]) >= LONG_TASKS:
        say(
            f"RabbitMQ {version} takes tasks away after consumer_timeout, 30 minutes unless it is set; no client can "
            "see it: set `consumer_timeout = 36000000000` in /etc/rabbitmq/rabbitmq.conf and restart it, then "
            f"`verdi -p {profile} config set warnings.rabbitmq_version false` (docs/services.md)"
        )
    return {f"broker_{key}": value for key, value in config.items()}


async def _rabbitmq_version(config: dict[str, Any]) -> str:
    """What the server says of itself at the first handshake; opens no channel and declares nothing."""
    import logging

    import aiormq
    from aiida.brokers.rabbitmq.utils import get_rmq_url

    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)
    connection = await asyncio.wait_for(aiormq.connect(get_rmq_url(**config)), PATIENCE)
    try:
        said = connection.server_properties["version"]
    finally:
        await connection.close()
    return said.decode() if isinstance(said, bytes) else str(said)


def ensure_user() -> None:
    """The profile's user, which an interrupted set-up can leave out; SetupError if the storage cannot be opened."""
    from aiida import orm
    from aiida.common.exceptions import AiidaException
    from aiida.manage import get_manager
    from aiida.manage.configuration import create_default_user

    profile = get_manager().get_profile()
    try:
        if profile is not None and orm.User.collection.get_default() is None:
            create_default_user(profile, email="aiida@localhost")
    except AiidaException as error:
        reason = " ".join(str(error).split())[:300]
        raise SetupError(f"profile {profile.name if profile else ''} cannot be opened: {reason}") from error
