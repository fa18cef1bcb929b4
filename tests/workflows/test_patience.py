"""A locked database is waited for, by connections made before and after."""

import subprocess
import sys

LOOK = """
from aiida import load_profile
from sqlalchemy import text
from aiida.manage import get_manager
load_profile("argonaut")
def patience():
    return get_manager().get_profile_storage().get_session().execute(text("PRAGMA busy_timeout")).scalar()
first = patience()
get_manager().get_profile_storage().get_session().commit()
from aiida_argonaut.workflows.patience import be_patient
be_patient()
print(first, patience())
"""


def test_a_locked_database_is_waited_for_by_connections_made_before(deployment):
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=deployment.folder, env=deployment.environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["5000", "300000"]
