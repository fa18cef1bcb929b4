"""Settings: every bad key or value is one clear line."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from aiida_argonaut.mlip.settings import SettingsError, load_settings, settings_from_mapping


@dataclass(frozen=True)
class Inner:
    low: float = 0.1


@dataclass(frozen=True)
class Outer:
    steps: int
    timestep_fs: float = 1.0
    mode: float | Literal["auto"] = "auto"
    span: tuple[float, float] = (300.0, 600.0)
    inner: Inner | None = None
    names: list[str] = field(default_factory=list)
    flag: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps {self.steps}: expected 1 or more")


def test_values_arrive_with_their_types():
    outer = settings_from_mapping(
        Outer, {"steps": 3, "timestep_fs": "5e-1", "span": [1, 2], "inner": {"low": 1}, "mode": 2, "names": ["a"]}, "x"
    )
    assert outer == Outer(3, 0.5, 2.0, (1.0, 2.0), Inner(1.0), ["a"])
    assert isinstance(outer.span[0], float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"stepss": 3}, "unknown key 'stepss'; did you mean 'steps'"),
        ({"steps": 3, "qqqqqqqqq": 3}, "known keys: steps"),
        ({}, "steps must be given"),
        ({"steps": 0}, "place: steps 0: expected 1 or more"),
        ({"steps": True}, "expected a whole number"),
        ({"steps": 1.5}, "given 1.5 .float., expected a whole number"),
        ({"steps": 1, "flag": 1}, "expected true or false"),
        ({"steps": 1, "mode": "atuo"}, "expected a number or one of auto"),
        ({"steps": 1, "span": [1.0]}, "expected a list of 2 values"),
        ({"steps": 1, "names": "a"}, "expected a list"),
        ({"steps": 1, "inner": {"lwo": 1}}, "place: inner: unknown key 'lwo'; did you mean 'low'"),
        ([1], "expected a mapping"),
    ],
)
def test_bad_settings_are_named(mapping, message):
    with pytest.raises(SettingsError, match=message):
        settings_from_mapping(Outer, mapping, "place")


def test_files(tmp_path):
    (tmp_path / "a.yaml").write_text("steps: 4\n")
    (tmp_path / "a.json").write_text('{"steps": 4}')
    assert load_settings(Outer, tmp_path / "a.yaml") == load_settings(Outer, tmp_path / "a.json") == Outer(4)
    (tmp_path / "bad.yaml").write_text("steps: [4\n")
    (tmp_path / "list.yaml").write_text("- 4\n")
    for name, message in (("bad.yaml", "not valid"), ("list.yaml", "holds a list"), ("none.yaml", "cannot be read")):
        with pytest.raises(SettingsError, match=message):
            load_settings(Outer, tmp_path / name)
    assert load_settings(Inner, None) == Inner()
