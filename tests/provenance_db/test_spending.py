"""Spending counts every job of a campaign once, under its stage, and nothing that came from the cache."""

from datetime import UTC, datetime, timedelta

import pytest


@pytest.fixture
def computer(profile):
    """Make a computer with a scheduler."""
    from aiida import orm

    def made(scheduler="core.direct"):
        return orm.Computer(
            label=f"c-{scheduler}", hostname="nowhere", transport_type="core.local", scheduler_type=scheduler
        ).store()

    return made


@pytest.fixture
def node(computer):
    """Make a process node: a caller, a link, attributes and the seconds of its life."""
    from aiida import orm
    from aiida.common.links import LinkType

    def made(label, caller=None, link="", kind=orm.WorkChainNode, lived=0.0, where=None, **attributes):
        one = kind(computer=where, ctime=datetime.now(UTC) - timedelta(seconds=lived))
        one.set_process_label(label)
        one.set_process_state(attributes.pop("state", "finished"))
        for key, value in {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, **attributes}.items():
            one.base.attributes.set(key, value)
        if caller is not None:
            calculation = isinstance(one, orm.CalculationNode)
            one.base.links.add_incoming(caller, LinkType.CALL_CALC if calculation else LinkType.CALL_WORK, link)
        return one.store()

    return made


@pytest.fixture
def job(node):
    """Make a calculation job that is done after 10 s."""
    from aiida import orm

    def made(caller, link, label="TrainCalculation", lived=10.0, **keywords):
        return node(label, caller, link, orm.CalcJobNode, lived, **keywords)

    return made


@pytest.fixture
def iteration(node):
    campaign = node("CampaignWorkChain")
    return node("IterationWorkChain", campaign, "iteration_00")


def spent(*campaigns):
    from aiida_argonaut.provenance_db.spending import jobs

    return {found.pk: found for found in jobs(campaigns)}


def test_every_job_is_found_once_under_its_stage_however_deep(iteration, node, job):
    campaign = iteration.caller
    label = node("LabelWorkChain", iteration, "label")
    shards = [node("LabelPwWorkChain", label, f"shard_{k:03d}") for k in range(2)]
    bases = [node("PwBaseWorkChain", shards[k % 2], f"label_{k:03d}") for k in range(8)]
    expected = {job(base, f"iteration_0{n}", "PwCalculation").pk: "label" for base in bases for n in (1, 2)}
    expected[job(node("TrainWorkChain", iteration, "train"), "member_00").pk] = "train"
    expected[job(iteration, "generate", "GenerateCalculation").pk] = "generate"
    other = node("CampaignWorkChain")
    second = job(node("IterationWorkChain", other, "iteration_00"), "explore").pk
    job(campaign, "elsewhere")
    assert {pk: found.stage for pk, found in spent(campaign).items()} == expected
    assert {pk: found.stage for pk, found in spent(campaign, other).items()} == {**expected, second: "explore"}


def test_the_number_of_queries_does_not_grow_with_the_labels(iteration, node, job, monkeypatch):
    from aiida import orm

    label = node("LabelWorkChain", iteration, "label")

    def asked():
        asked.count = 0
        with monkeypatch.context() as patch:
            plain = orm.QueryBuilder.iterall

            def counted(self, *args, **kwargs):
                asked.count += 1
                return plain(self, *args, **kwargs)

            patch.setattr(orm.QueryBuilder, "iterall", counted)
            found = len(spent(iteration.caller))
        return found, asked.count

    job(node("PwBaseWorkChain", label, "label_000"), "iteration_01")
    few = asked()
    for k in range(1, 40):
        job(node("PwBaseWorkChain", label, f"label_{k:03d}"), "iteration_01")
    many = asked()
    assert (few[0], many[0]) == (1, 40)
    assert few[1] == many[1] > 0


def test_nothing_of_what_is_not_a_campaigns(profile, node, job):
    campaign = node("CampaignWorkChain")
    job(node("LabelWorkChain"), "label")
    assert spent(campaign) == {}
    assert spent() == {}


@pytest.mark.parametrize(
    ("attributes", "cores"),
    [
        ({}, 1),
        ({"resources": {"num_machines": 2, "num_mpiprocs_per_machine": 4}}, 8),
        ({"resources": {"num_machines": 2, "tot_num_mpiprocs": 6}}, 6),
        ({"environment_variables": {"OMP_NUM_THREADS": "3"}}, 3),
        ({"resources": {"num_machines": 2}, "environment_variables": {"OMP_NUM_THREADS": 2}}, 4),
        ({"environment_variables": {"OMP_NUM_THREADS": "$CORES"}}, 1),
        ({"resources": {"parallel_env": "mpi", "tot_num_mpiprocs": 5}}, 5),
    ],
)
def test_cores_are_processes_times_threads(attributes, cores, iteration, job):
    from aiida_argonaut.provenance_db.spending import core_seconds

    made = job(iteration, "generate", **attributes)
    found = spent(iteration.caller)[made.pk]
    assert found.cores == cores
    assert found.seconds == pytest.approx(10.0, abs=1.0)
    assert core_seconds([found]) == cores * found.seconds


def test_a_job_from_the_cache_costs_nothing(iteration, job):
    from aiida_argonaut.provenance_db.spending import core_seconds

    job(iteration, "generate", lived=5.0)
    clone = job(iteration, "generate", lived=7.0)
    clone.base.extras.set("_aiida_cached_from", "somewhere")
    found = spent(iteration.caller)
    assert found[clone.pk].cached
    assert core_seconds(list(found.values())) == pytest.approx(5.0, abs=1.0)


def test_jobs_of_a_code_are_those_that_ran_and_ended_well(computer, job, iteration):
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.provenance_db.spending import jobs_of_code

    where = computer()
    codes = [orm.InstalledCode(label=name, computer=where, filepath_executable="/bin/true").store() for name in "ab"]

    def ran(code, **attributes):
        node = orm.CalcJobNode(computer=where)
        node.base.links.add_incoming(code, LinkType.INPUT_CALC, "code")
        for key, value in {"process_label": "TrainCalculation", "exit_status": 0, **attributes}.items():
            node.base.attributes.set(key, value)
        node.set_process_state("finished")
        return node.store()

    good = [ran(codes[0]), ran(codes[0])]
    ran(codes[1])
    ran(codes[0], exit_status=300)
    ran(codes[0], process_label="ExploreCalculation")
    ran(codes[0]).base.extras.set("_aiida_cached_from", "somewhere")
    assert [found.pk for found in jobs_of_code(codes[0], "TrainCalculation")] == [node.pk for node in good]


def test_pw_knows_its_own_time(iteration, job):
    from aiida import orm
    from aiida.common.links import LinkType

    made = job(iteration, "label", lived=40.0)
    parameters = orm.Dict({"wall_time_seconds": 12.5})
    parameters.base.links.add_incoming(made, LinkType.CREATE, "output_parameters")
    parameters.store()
    assert spent(iteration.caller)[made.pk].seconds == 12.5


@pytest.mark.parametrize(("scheduler", "seconds"), [("core.slurm", 20.0), ("core.direct", 40.0)])
def test_a_scheduler_knows_it_and_direct_knows_nothing(scheduler, seconds, iteration, job, computer):
    told = {"wallclock_time_seconds": 20}
    made = job(iteration, "train", lived=40.0, where=computer(scheduler), last_job_info=told)
    assert spent(iteration.caller)[made.pk].seconds == pytest.approx(seconds, abs=1.0)


@pytest.mark.parametrize(("elapsed", "seconds"), [("00:01:05", 65.0), ("2-03:00:01", 183601.0), ("05:02", 302.0)])
def test_accounting_comes_before_the_queue(elapsed, seconds, iteration, job, computer):
    stdout = f"AllocCPUS|CPUTime|Elapsed|State|\n8|00:09:99|{elapsed}|COMPLETED|\n8|x|00:00:01|COMPLETED|\n"
    told = {"last_job_info": {"wallclock_time_seconds": 3}, "detailed_job_info": {"stdout": stdout}}
    made = job(iteration, "train", lived=40.0, where=computer("core.slurm"), **told)
    assert spent(iteration.caller)[made.pk].seconds == seconds


@pytest.mark.parametrize(
    ("state", "scheduler_state", "working"),
    [("waiting", "running", True), ("waiting", None, True), ("waiting", "queued", False), ("created", None, False)],
)
def test_a_job_costs_while_it_works_and_not_while_it_waits(state, scheduler_state, working, iteration, job):
    made = job(iteration, "explore", state=state, scheduler_state=scheduler_state, lived=100.0)
    found = spent(iteration.caller)[made.pk]
    assert not found.terminated
    since = (datetime.now(UTC) - made.ctime).total_seconds()
    assert since >= 100.0
    assert found.seconds == pytest.approx(since if working else 0.0, abs=1.0)
