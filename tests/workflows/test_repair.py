"""What a kill leaves of a campaign is found in the record and mended, and what is whole is left alone."""

import pytest


class Recorder:
    """A daemon that notes what it is told; processes die when they are killed."""

    def __init__(self, workers=2, orphaned=()):
        self.workers, self.orphaned, self.told = workers, list(orphaned), []

    def stop(self):
        self.told.append("stop")
        return self.workers

    def start(self, workers):
        self.told.append(f"start {workers}")

    def restore_tasks(self):
        self.told.append("tasks")
        return self.orphaned

    def kill(self, node, seconds):
        self.told.append(f"kill {node.pk}")
        node.set_process_state("killed")
        return True


@pytest.fixture
def campaign(process):
    from aiida import orm

    settings, seed = orm.Dict({"stop": {"iterations": 2}}).store(), orm.Int(7).store()
    return process("CampaignWorkChain", state="running", inputs={"settings": settings, "seed": seed})


def mended(campaign, daemon):
    from aiida_argonaut.workflows.repair import repair

    lines = []
    return repair(campaign, daemon, lines.append), "\n".join(lines)


def test_a_healthy_campaign_is_left_alone(campaign, process):
    iteration = process("IterationWorkChain", campaign, "iteration_00", state="waiting")
    process("TrainCalculation", iteration, "train", state="running")
    daemon = Recorder()
    number, said = mended(campaign, daemon)
    assert number == 0
    assert daemon.told == ["stop", "tasks", "start 2"]
    assert "kill" not in said


def test_children_that_never_began_get_an_end(campaign, process):
    from aiida_argonaut.provenance_db.called import children

    dead = process("IterationWorkChain", campaign, "iteration_00", state="created")
    living = process("IterationWorkChain", campaign, "iteration_00", state="waiting")
    number, said = mended(campaign, Recorder())
    assert number == 1
    assert f"IterationWorkChain <{dead.pk}> never began" in said
    assert dead.is_killed
    assert dead.is_sealed
    assert mended(campaign, Recorder())[0] == 0
    assert children(campaign)["iteration_00"].pk == living.pk, "the campaign must not take the dead one for its child"


def test_of_doubled_children_the_younger_is_killed(campaign, process):
    first = process("IterationWorkChain", campaign, "iteration_00", state="waiting")
    second = process("IterationWorkChain", campaign, "iteration_00", state="waiting")
    daemon = Recorder()
    number, said = mended(campaign, daemon)
    assert number == 1
    assert daemon.told[-1] == f"kill {second.pk}"
    assert f"is a second IterationWorkChain <{first.pk}>: killed" in said
    assert mended(campaign, Recorder())[0] == 0


def test_children_of_the_dead_are_killed(campaign, process):
    iteration = process("IterationWorkChain", campaign, "iteration_00", state="excepted")
    label = process("LabelWorkChain", iteration, "label", state="waiting")
    daemon = Recorder()
    assert mended(campaign, daemon)[0] == 1
    assert daemon.told[-1] == f"kill {label.pk}"


def test_without_a_daemon_nothing_is_killed_and_it_is_said(campaign, process):
    iteration = process("IterationWorkChain", campaign, "iteration_00", state="excepted")
    process("LabelWorkChain", iteration, "label", state="waiting")
    daemon = Recorder(workers=0)
    number, said = mended(campaign, daemon)
    assert number == 0
    assert "for which a daemon must run" in said
    assert daemon.told == ["stop", "tasks"]


def test_lost_tasks_are_restored(campaign):
    number, said = mended(campaign, Recorder(orphaned=[campaign.pk]))
    assert number == 1
    assert f"process <{campaign.pk}> had no task" in said


@pytest.mark.parametrize("status", [0, 11])
def test_damaged_calculations_and_their_clones_are_barred(status, campaign, process, pw_label, profile):
    from aiida.common.links import LinkType

    from aiida_argonaut.workflows.pw_failures import CACHED_FROM

    label = pw_label(11, ((status, {"leave_out": ("remote_folder",)}),))
    clone = pw_label().called[0]
    damaged, whole = label.called[0], pw_label().called[0]
    clone.base.extras.set(CACHED_FROM, damaged.uuid)
    label.backend_entity.add_incoming(campaign.backend_entity, LinkType.CALL_WORK, "label_000")
    number, said = mended(campaign, Recorder())
    assert number == 2
    assert f"PwCalculation <{damaged.pk}>" in said
    assert not damaged.base.caching.is_valid_cache
    assert not clone.base.caching.is_valid_cache
    assert whole.base.caching.is_valid_cache
    assert mended(campaign, Recorder())[0] == 0
