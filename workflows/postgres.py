"""PostgreSQL for a profile: an empty database that was given, or one of its own; what fails leaves nothing behind."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 10
"""Seconds to wait for the server's answer."""
MAY_CREATE = "SELECT has_schema_privilege(coalesce(current_schema(), 'public'), 'CREATE')"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


class SetupError(ValueError):
    """Something that campaigns need is missing: says what, and the command that makes it."""


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server and who logs in; the defaults are those of a server on this computer."""

    host: str = "localhost"
    port: int = 5432
    user: str = "postgres"
    database: str | None = None
    """An empty database of this user's; None makes one, and a role for it, as a user who may do so."""

    def __str__(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database or ''}"

    @property
    def createuser(self) -> str:
        """The command that makes a role, as the system's user postgres on Debian."""
        return f"`sudo -u postgres createuser --pwprompt {self._role}`"

    @property
    def createdb(self) -> str:
        """The command that makes an empty database of this role, as the system's user postgres on Debian."""
        options = "--encoding UTF8 --locale C --template template0"
        return f"`sudo -u postgres createdb --owner {self._role} {options} DATABASE`"

    @property
    def _role(self) -> str:
        return "aiida" if self.user == "postgres" else self.user


@contextmanager
def storage(
    server: PostgresServer, password: str | None, profile: str, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """The configuration of AiiDA's `core.psql_dos`; if the block fails, tables, database, role and files go again."""
    from aiida.manage.configuration.settings import AiiDAConfigDir

    files = Path(AiiDAConfigDir.get()) / "repository" / f"{profile}-{secrets.token_hex(4)}"
    with (_given if server.database else _own)(server, password or "", profile, say) as (role, secret, database):
        try:
            yield {
                "database_hostname": server.host, "database_port": server.port, "database_username": role,
                "database_password": secret, "database_name": database, "repository_uri": files.as_uri(),
            }  # fmt: skip
        except BaseException:
            shutil.rmtree(files, ignore_errors=True)
            raise


@contextmanager
def _given(
    server: PostgresServer, password: str, profile: str, say: Callable[[str], None]
) -> Iterator[tuple[str, str, str]]:
    """Role, password and name of an existing database, which has to be empty; on an error it is emptied again."""
    assert server.database is not None
    tables, encoding = {row[0] for row in ask(server, password, TABLES)}, ask(server, password, "SHOW server_encoding")
    if tables:
        what = "the record of another AiiDA profile" if "db_dbnode" in tables else "tables that are not AiiDA's"
        raise SetupError(f"{server} holds {what}; expected an empty one: {server.createdb}")
    if encoding != [("UTF8",)]:
        raise SetupError(f"{server} has the encoding {encoding[0][0]}, expected UTF8: {server.createdb}")
    if ask(server, password, MAY_CREATE) != [(True,)]:
        raise SetupError(
            f"{server}: {server.user} has no right to make tables there, expected its own database: {server.createdb}"
        )
    say(f"using the empty database {server}")
    try:
        yield server.user, password, server.database
    except BaseException:
        with suppress(SetupError):
            left = ", ".join(f'"{name}"' for (name,) in ask(server, password, TABLES))
            if left:
                ask(server, password, f"DROP TABLE {left} CASCADE")
        raise


@contextmanager
def _own(
    server: PostgresServer, password: str, profile: str, say: Callable[[str], None]
) -> Iterator[tuple[str, str, str]]:
    """A new role, its random password and its new database; on an error they are dropped again."""
    import psycopg
    from aiida.manage.external.postgres import Postgres, PostgresConnectionMode

    ask(server, password, "SELECT 1")
    made = Postgres(determine_setup=False, dbinfo=_address(server, password))  # its own search tries other servers too
    made.connection_mode = PostgresConnectionMode.PSYCOPG
    role, database, secret = (
        made.find_new_dbuser(f"aiida-{profile}"), made.find_new_db(f"aiida-{profile}"), secrets.token_hex(15)
    )  # fmt: skip
    try:
        made.create_dbuser(role, secret)
        try:
            made.create_db(role, database)
        except psycopg.errors.WrongObjectType:  # AiiDA asks for en_US.UTF-8, which a bare computer does not have
            made.execute(
                f"CREATE DATABASE \"{database}\" OWNER \"{role}\" ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' "
                "TEMPLATE template0"
            )
        say(f"made the PostgreSQL role and database {database} on {server.host}:{server.port}")
        yield role, secret, database
    except BaseException as error:
        with suppress(psycopg.Error):
            if made.db_exists(database):
                made.drop_db(database)
            if made.dbuser_exists(role):
                made.drop_dbuser(role)
        if isinstance(error, psycopg.Error):
            raise SetupError(
                f"{server}: {_one_line(error)}; give the address of a database that an administrator has made: "
                f"{server.createuser}, {server.createdb}"
            ) from error
        raise


def ask(server: PostgresServer, password: str, command: str) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows; SetupError says why the server does not serve."""
    try:
        import psycopg
    except ImportError as error:
        raise SetupError(
            f"psycopg, with which AiiDA talks to PostgreSQL, cannot be loaded ({error}); install it: "
            "`pip install 'psycopg[binary]'`"
        ) from error
    try:
        with psycopg.connect(**_address(server, password)) as connection:
            cursor = connection.execute(command)
            return cursor.fetchall() if cursor.description is not None else []
    except psycopg.Error as error:
        raise SetupError(
            f"no PostgreSQL at {server}: {_one_line(error)}; start the server, or give --postgres "
            "postgresql://USER@HOST:PORT/DATABASE and the password in PGPASSWORD (docs/services.md)"
        ) from error


def _address(server: PostgresServer, password: str) -> dict[str, Any]:
    return {
        "host": server.host, "port": server.port, "user": server.user, "dbname": server.database or "template1",
        "connect_timeout": PATIENCE, **({"password": password} if password else {}),
    }  # fmt: skip


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
