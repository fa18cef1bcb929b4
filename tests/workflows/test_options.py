"""Scheduler options are checked before anything is submitted: inside the daemon they would only make a job except."""

import pytest

from aiida_argonaut.mlip.settings import SettingsError


@pytest.fixture
def check(profile):
    """check(stage, options): the default options with these ones, for a code on a computer without a queue."""
    from aiida import orm

    from aiida_argonaut.workflows.builder import check_options
    from aiida_argonaut.workflows.config import default_options
    from aiida_argonaut.workflows.config_keys import CampaignConfig, GenerateConfig

    computer = orm.Computer(
        label="localhost", hostname="localhost", transport_type="core.local", scheduler_type="core.direct"
    ).store()
    code = orm.InstalledCode(label="any", computer=computer, filepath_executable="/bin/true")
    config = CampaignConfig(generate=GenerateConfig(recipe={"source": "packing"}))

    def checked(stage, options):
        check_options({**default_options(), **options}, config, stage, code, "campaign.yaml: stages")

    return checked


@pytest.mark.parametrize("stage", ["generate", "explore", "select", "label", "train", "evaluate"])
def test_the_defaults_and_common_options_pass(check, stage):
    check(stage, {})
    check(stage, {"queue_name": "long", "account": "me", "max_wallclock_seconds": 60, "prepend_text": "module load qe"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_walltime": 5}, "did you mean 'max_wallclock_seconds'"),
        ({"max_wallclock_seconds": "1h"}, "max_wallclock_seconds"),
        ({"resources": {"num_machine": 1}}, "num_machine"),
        ({"resources": {}}, "must be specified"),
    ],
)
def test_what_aiida_would_refuse_is_refused_at_once(check, options, words):
    for stage in ("label", "train"):
        with pytest.raises(SettingsError, match=f"^campaign.yaml: stages: options: .*{words}"):
            check(stage, options)
