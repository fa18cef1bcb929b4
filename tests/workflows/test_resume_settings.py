"""Settings of a resumed campaign: one value replaced by its path, and what has changed told by path."""

import pytest

from aiida_argonaut.mlip.settings import SettingsError
from aiida_argonaut.workflows.resume import assigned, check_same_files, differences

DOCUMENT = {"stop": {"iterations": 2, "force_rmse": None}, "seed": 1, "stages": {}, "start": {"data": "x"}}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("stop.iterations=8", ("stop", "iterations"), 8),
        ("seed = 4", ("seed",), 4),
        ("stop.force_rmse=0.2", ("stop", "force_rmse"), 0.2),
        ("stop.force_rmse=null", ("stop", "force_rmse"), None),
        ("explore.temperature_K=[300, 900]", ("explore", "temperature_K"), [300, 900]),
        ("stages.label.options.queue_name=long=er", ("stages", "label", "options", "queue_name"), "long=er"),
    ],
)
def test_one_value_is_replaced(assignment, path, value):
    changed = assigned(DOCUMENT, assignment)
    found = changed
    for name in path:
        found = found[name]
    assert found == value
    assert {key: changed[key] for key in DOCUMENT if key != path[0]} == {
        key: DOCUMENT[key] for key in DOCUMENT if key != path[0]
    }
    assert DOCUMENT["stop"] == {"iterations": 2, "force_rmse": None}, "the original stays as it is"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("stop.iterations", "expected KEY=VALUE"),
        ("=8", "expected KEY=VALUE"),
        ("stop..iterations=8", "expected KEY=VALUE"),
        ("stop.iterations=[1", "not valid YAML"),
        ("seed.deep=8", "has no key 'deep'"),
    ],
)
def test_what_is_no_assignment_is_refused(assignment, words):
    with pytest.raises(SettingsError, match=words):
        assigned(DOCUMENT, assignment)


def test_differences_are_told_by_path():
    before = {"stop": {"iterations": 2}, "campaign": {"stop": {"iterations": 2}}, "a": [1, 2], "gone": 1}
    after = {"stop": {"iterations": 3}, "campaign": {"stop": {"iterations": 3}}, "a": [1, 2], "new": {"b": None}}
    assert differences(before, after) == {"stop.iterations": [2, 3], "gone": [1, None]}
    assert differences(before, before) == {}


def test_files_of_the_beginning_cannot_be_exchanged():
    check_same_files(DOCUMENT, {**DOCUMENT, "seed": 2})
    with pytest.raises(ValueError, match=r"start\.data is fixed"):
        check_same_files(DOCUMENT, {**DOCUMENT, "start": {"data": "y"}})
