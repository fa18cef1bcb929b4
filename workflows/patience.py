"""Patience with a slow disk: whoever finds SQLite locked waits for minutes, not for the 5 s of Python's default.

AiiDA (2.9.4) has no setting for it, and a worker that meets a locked database in the middle of a write loses the state
of its process. `be_patient` is called where daemon workers first meet a process of ours, and where commands open a
profile.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any

MILLISECONDS = 300_000


@cache
def be_patient() -> None:
    """Once per process: every connection to SQLite from now on waits; those made before are replaced when idle."""
    from aiida.manage import get_manager
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", _wait)
    manager = get_manager()
    profile: Any = manager.get_profile()
    if manager.profile_storage_loaded and profile.storage_backend == "core.sqlite_dos":
        storage: Any = manager.get_profile_storage()
        storage.get_session().get_bind().dispose()


def _wait(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {MILLISECONDS}")
