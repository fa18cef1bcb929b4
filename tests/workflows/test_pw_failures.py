"""What the machine did is repeated, what chemistry did is a result: only the record decides which is which."""

import pytest

MACHINE = {
    "killed": ("killed", ((0, {}),), "killed"),
    "excepted": ("excepted", ((0, {}),), "excepted"),
    "calculation killed": (0, (("killed", {}),), "PwCalculation was killed"),
    "calculation excepted": (0, (("excepted", {}),), "PwCalculation excepted"),
    "never started": (201, (), "no pw.x calculation was started"),
    "node failure": (401, ((140, {}),), "ended 140"),
    "no retrieved files": (401, ((301, {"leave_out": ("output_parameters", "output_trajectory")}),), "ended 301"),
    "output cut off": (401, ((312, {}),), "ended 312"),
    "restart lost the remote folder": (11, ((0, {"leave_out": ("remote_folder",)}),), "ended 0 without remote_folder"),
    "restart lost the forces": (0, ((0, {"leave_out": ("output_trajectory",)}),), "without output_trajectory"),
    "work chain lost an output": (11, ((0, {}),), "lacks a required output"),
    "the last one counts": (300, ((410, {}), (312, {})), "ended 312"),
}

CHEMISTRY = {
    "out of walltime at the scheduler": (401, ((120, {}),)),
    "out of memory at the scheduler": (401, ((110, {}),)),
    "good": (0, ((0, {}),)),
    "good at once": (None, ((0, {}),)),
    "stopped by the monitor": (None, ((150, {"leave_out": ("output_trajectory",)}),)),
    "not converged": (400, ((410, {}),)),
    "not converged and no trajectory": (400, ((410, {"leave_out": ("output_trajectory",)}),)),
    "bands not converged": (400, ((461, {}),)),
    "cholesky": (300, ((462, {}),)),
    "rescued at the second attempt": (0, ((410, {}), (0, {}))),
    "rescued after a cut-off output": (0, ((312, {}), (0, {}))),
}


@pytest.mark.parametrize("case", MACHINE)
def test_the_machine_did_it(case, pw_label):
    from aiida_argonaut.workflows.pw_failures import infrastructure_failure

    how, calculations, expected = MACHINE[case]
    assert expected in infrastructure_failure(pw_label(how, calculations))


@pytest.mark.parametrize("case", CHEMISTRY)
def test_chemistry_did_it(case, pw_label):
    from aiida_argonaut.workflows.pw_failures import infrastructure_failure

    assert infrastructure_failure(pw_label(*CHEMISTRY[case])) is None


RESCUED = {
    "not converged": (((410, {}),), "410"),
    "stopped by the monitor": (((150, {}),), "150"),
    "no eigenvectors": (((467, {}),), "467"),
    "out of time": (((400, {}),), "400"),
    "bands": (((0, {"occupations": [2.0, 2.0, 0.4]}),), "highest band is occupied"),
}


@pytest.mark.parametrize("case", RESCUED)
def test_what_is_worth_a_rescue(case, pw_label):
    from aiida_argonaut.workflows.pw_failures import chemistry_failure

    calculations, expected = RESCUED[case]
    assert expected in chemistry_failure(pw_label(None, calculations))
    assert chemistry_failure(pw_label(400, calculations)) is None, "what was rescued once is not rescued again"


@pytest.mark.parametrize(("status", "outputs"), [(0, {"occupations": [2.0, 0.0]}), (0, {}), (340, {}), (312, {})])
def test_what_is_not(status, outputs, pw_label):
    from aiida_argonaut.workflows.pw_failures import chemistry_failure

    assert chemistry_failure(pw_label(None, ((status, outputs),))) is None


def test_the_last_calculation_is_the_newest(pw_label):
    from aiida_argonaut.workflows.pw_failures import last_calculation

    label = pw_label(0, ((410, {}), (0, {})))
    assert last_calculation(label).exit_status == 0
    assert last_calculation(pw_label(201, ())) is None


def test_a_rescue_that_found_nothing_to_try_is_judged_by_what_it_took_over(pw_label, profile):
    from aiida import orm
    from aiida.common.links import LinkType

    from aiida_argonaut.workflows.pw_failures import infrastructure_failure, last_calculation

    first = pw_label(None, ((410, {}),))
    rescue = orm.WorkChainNode(process_type="aiida.workflows:argonaut.pw_rescue")
    rescue.base.links.add_incoming(first.outputs.remote_folder, LinkType.INPUT_WORK, "failed")
    rescue.set_process_state("finished")
    rescue.set_exit_status(401)
    rescue.store()
    assert last_calculation(rescue).pk == first.pk
    assert infrastructure_failure(rescue) is None


@pytest.fixture
def families(profile, pw_label):
    """A damaged label, its clone by caching, a clone of the same source, and an unrelated label."""
    from aiida_argonaut.workflows.pw_failures import CACHED_FROM

    labels = [pw_label(11, ((0, {"leave_out": ("remote_folder",)}),)) for _ in range(3)] + [pw_label(0)]
    source, clone, sister, other = [label.called[0] for label in labels]
    for copy in (clone, sister):
        copy.base.extras.set(CACHED_FROM, source.uuid)
    return labels, (source, clone, sister, other)


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_calculation_and_its_clones_no_longer_serve_as_cache(families, damaged):
    from aiida_argonaut.workflows.pw_failures import bar_from_cache

    labels, (source, clone, sister, other) = families
    assert bar_from_cache(labels[damaged]) == 3
    assert not any(node.base.caching.is_valid_cache for node in (source, clone, sister))
    assert other.base.caching.is_valid_cache


def test_nothing_to_bar(pw_label):
    from aiida_argonaut.workflows.pw_failures import bar_from_cache

    bystander = pw_label(0)
    assert bar_from_cache(pw_label(201, ())) == 0
    assert bystander.called[0].base.caching.is_valid_cache
