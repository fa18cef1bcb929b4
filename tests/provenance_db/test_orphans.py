"""A node from nowhere turns the audit red, wherever it hides; what a rescue has on record does not."""

import pytest

PW = "aiida.calculations:quantumespresso.pw"
PW_BASE = "aiida.workflows:quantumespresso.pw.base"
CELL = [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
PARAMETERS = {
    "CONTROL": {"calculation": "scf"},
    "SYSTEM": {"ecutwfc": 40.0, "degauss": 0.02},
    "ELECTRONS": {"conv_thr": 1e-8, "mixing_beta": 0.4},
}
NOTHING_DONE = [["handle_electronic_convergence_stuck", None], ["sanity_check_insufficient_bands", None]]
RESCUED = [
    ["handle_electronic_convergence_stuck", None],
    ["handle_electronic_convergence_not_reached", {"do_break": True, "exit_status": 0}],
]


def changed(namelist, key, value):
    return {**PARAMETERS, namelist: {**PARAMETERS[namelist], key: value}}


@pytest.fixture
def graph(profile):
    """A campaign that prepares a label and runs it; returns a function that builds it with something planted."""
    from aiida import orm
    from aiida.common.links import LinkType

    def process(kind, label, caller, inputs, call="called", **keywords):
        node = kind(**keywords)
        node.set_process_label(label)
        calculation = kind is not orm.WorkChainNode
        for port, data in inputs.items():
            node.base.links.add_incoming(data, LinkType.INPUT_CALC if calculation else LinkType.INPUT_WORK, port)
        if caller is not None:
            link = LinkType.CALL_CALC if calculation else LinkType.CALL_WORK
            node.base.links.add_incoming(caller, link, call)
        return node.store()

    def build(
        asked=None,
        parameters=None,
        handlers=(NOTHING_DONE,),
        attempt="iteration_01",
        calculation_inputs=None,
        iteration_inputs=None,
        returned=None,
    ):
        settings = orm.Dict({"stop": {"iterations": 1}}).store()
        campaign = process(orm.WorkChainNode, "CampaignWorkChain", None, {"settings": settings})
        iteration = process(
            orm.WorkChainNode, "IterationWorkChain", campaign, {"settings": settings, **(iteration_inputs or {})}
        )
        prepare = process(orm.CalcFunctionNode, "prepare_pw", iteration, {"settings": settings})
        made = {
            "structure": orm.StructureData(cell=CELL),
            "parameters": orm.Dict(PARAMETERS),
        }
        for name, node in made.items():
            node.base.links.add_incoming(prepare, LinkType.CREATE, name)
            node.store()
        asks = {"pw__structure": made["structure"], "pw__parameters": asked or made["parameters"]}
        chain = process(orm.WorkChainNode, "PwBaseWorkChain", iteration, asks, process_type=PW_BASE)
        chain.base.extras.set("considered_handlers", list(handlers))
        own = orm.Dict(PARAMETERS if parameters is None else parameters).store()
        inputs = {"structure": made["structure"], "parameters": own, **(calculation_inputs or {})}
        process(orm.CalcJobNode, "PwCalculation", chain, inputs, call=attempt, process_type=PW)
        for name, node in {"settings": settings, "structure": made["structure"], **(returned or {})}.items():
            node.base.links.add_incoming(iteration, LinkType.RETURN, name)
        return campaign

    return build


def orphans(campaign):
    from aiida_argonaut.provenance_db.orphans import find_orphans

    return find_orphans(campaign)


def test_a_clean_graph_is_clean(graph):
    assert orphans(graph()) == []


@pytest.mark.parametrize("kind", ["structure", "number", "text", "settings"])
@pytest.mark.parametrize("place", ["iteration_inputs", "calculation_inputs"])
def test_a_planted_node_is_found(kind, place, graph):
    from aiida import orm

    planted = {
        "structure": orm.StructureData(cell=CELL),
        "number": orm.Int(3),
        "text": orm.Str("threshold"),
        "settings": orm.Dict({"low": 0.1}),
    }[kind].store()
    (orphan,) = orphans(graph(**{place: {"planted": planted}}))
    assert orphan.pk == planted.pk
    assert orphan.port == "planted"
    assert type(planted).__name__ in str(orphan)
    assert "input 'planted' of" in str(orphan)


@pytest.mark.parametrize(
    ("namelist", "key", "value"),
    [("SYSTEM", "ecutwfc", 60.0), ("SYSTEM", "degauss", 0.1), ("ELECTRONS", "conv_thr", 1e-3), ("SYSTEM", "nspin", 2)],
)
@pytest.mark.parametrize("handlers", [(), (NOTHING_DONE, []), (RESCUED, NOTHING_DONE)])
def test_parameters_that_decide_the_numbers_may_never_differ(namelist, key, value, handlers, graph):
    different = changed(namelist, key, value)
    (orphan,) = orphans(graph(parameters=different, handlers=handlers, attempt="iteration_02"))
    assert orphan.port == "parameters"


RESCUES = [("SYSTEM", "nbnd", 40), ("ELECTRONS", "mixing_beta", 0.2), ("ELECTRONS", "diagonalization", "cg")]


@pytest.mark.parametrize("rescue", RESCUES)
@pytest.mark.parametrize(
    ("attempt", "handlers"),
    [
        ("iteration_02", (RESCUED, NOTHING_DONE)),
        ("iteration_02", (RESCUED, [])),
        ("iteration_03", (RESCUED, NOTHING_DONE, NOTHING_DONE)),
        ("iteration_02", ([], RESCUED, NOTHING_DONE)),  # a crash repeated the first launch
    ],
)
def test_a_rescue_on_record_is_allowed(rescue, attempt, handlers, graph):
    assert orphans(graph(parameters=changed(*rescue), attempt=attempt, handlers=handlers)) == []


@pytest.mark.parametrize("rescue", RESCUES)
@pytest.mark.parametrize(
    ("attempt", "handlers"),
    [
        ("iteration_01", ()),
        ("iteration_01", (NOTHING_DONE,)),
        ("iteration_02", (NOTHING_DONE, NOTHING_DONE)),
        ("iteration_01", (RESCUED,)),  # what was done about this attempt cannot explain its inputs
        ("iteration_02", (NOTHING_DONE, RESCUED)),
        ("by_hand", (RESCUED, RESCUED)),
    ],
)
def test_a_rescue_off_record_is_found(rescue, attempt, handlers, graph):
    (orphan,) = orphans(graph(parameters=changed(*rescue), attempt=attempt, handlers=handlers))
    assert orphan.port == "parameters"


@pytest.mark.parametrize("kind", ["structure", "settings", "flag"])
def test_a_node_that_a_work_chain_returns_from_nowhere_is_found(kind, graph):
    from aiida import orm

    planted = {
        "structure": orm.StructureData(cell=CELL),
        "settings": orm.Dict({"low": 0.1}),
        "flag": orm.Bool(True),
    }[kind].store()
    (orphan,) = orphans(graph(returned={"planted": planted}))
    assert (orphan.pk, orphan.port, orphan.role) == (planted.pk, "planted", "output")
    assert "output 'planted' of IterationWorkChain" in str(orphan)


def test_how_a_job_is_started_is_no_news(graph):
    assert orphans(graph(parameters=changed("CONTROL", "restart_mode", "from_scratch"))) == []
    assert orphans(graph(parameters=changed("CONTROL", "max_seconds", 3420.0))) == []


def test_parameters_without_provenance_are_found_where_they_enter(graph):
    from aiida import orm

    planted = orm.Dict(PARAMETERS).store()
    assert [orphan.pk for orphan in orphans(graph(asked=planted))] == [planted.pk]


def test_an_orphan_used_twice_is_told_once(graph):
    from aiida import orm

    planted = orm.Int(1).store()
    found = orphans(graph(iteration_inputs={"planted": planted}, calculation_inputs={"planted": planted}))
    assert [orphan.pk for orphan in found] == [planted.pk]
