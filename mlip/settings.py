"""Settings: a YAML or JSON mapping becomes a frozen dataclass, and nothing in it is silently ignored.

Every stage that can be configured has one dataclass with documented fields. An unknown key, a wrong type or a bad value
is one line that names the place, what was given and what is expected.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import reprlib
import sys
import types
import typing
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

Settings = TypeVar("Settings")
LARGEST = 100_000
"""Values in a YAML file, aliases followed."""


class SettingsError(ValueError):
    """A setting that cannot be used: says where it is, what was given and what is expected."""


class _Loader(yaml.SafeLoader):
    """YAML that means what it says: what JSON can hold, each key once; dates stay text and 12:30 is no number."""

    yaml_constructors = {  # noqa: RUF012 as PyYAML has it
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }
    yaml_implicit_resolvers = {  # noqa: RUF012 as PyYAML has it
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_document(self) -> yaml.Node | None:
        """Also measures the document, for a few lines of aliases can stand for more than any memory holds."""
        node = super().compose_document()
        if node is not None:
            _size(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Also refuses a key that is given twice, of which PyYAML keeps the last."""
        given = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in given.items():
            if count > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Also refuses numbers to the base 60."""
        if isinstance(node, yaml.ScalarNode) and ":" in node.value and node.tag.rpartition(":")[2] in ("int", "float"):
            problem = f"{node.value} is minutes and seconds in YAML; write a decimal number, or text in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes below this one, aliases followed; refuses too many, and a node that holds itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = LARGEST + 1  # until it is known: met again, it holds itself
        parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    if known[id(node)] > LARGEST:
        problem = f"aliases blow the document up to more than {LARGEST} values"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return known[id(node)]


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file (an empty file is an empty mapping); SettingsError if it is anything else."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as text (UTF-8): {error}") from error
    try:
        document = _parsed_json(text) if str(path).endswith(".json") else parsed_yaml(text)
    except RecursionError as error:
        raise SettingsError(f"{path}: nested too deeply to be read") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"{path}: not valid YAML or JSON: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: holds a {type(document).__name__}, expected 'key: value' lines")
    return document


def parsed_yaml(text: str) -> Any:
    """What a YAML text says, of what JSON can hold; raises yaml.YAMLError or ValueError where it says nothing clear."""
    return yaml.load(text, Loader=_Loader)  # a safe loader, and stricter


def _parsed_json(text: str) -> Any:
    def refused(constant: str) -> Any:
        raise ValueError(f"{constant} is no number; give a finite one")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, count in Counter(key for key, _ in pairs).items():
            if count > 1:
                raise ValueError(f"the key {key!r} is given twice")
        return dict(pairs)

    return json.loads(text, parse_constant=refused, object_pairs_hook=once)


def load_settings(cls: type[Settings], path: str | Path | None) -> Settings:
    """Settings from a file, or all defaults where no file is given."""
    if path is None:
        return settings_from_mapping(cls, {}, cls.__name__)
    return settings_from_mapping(cls, read_mapping(path), str(path))


def settings_from_mapping(cls: type[Settings], mapping: Mapping[str, Any], where: str) -> Settings:
    """Build the dataclass `cls` from `mapping`; `where` names the place in error messages.

    Values are checked against the field types (int, float, str, bool, None, Literal, list, tuple, dict, unions, nested
    dataclasses); whole numbers are welcome as floats. ValueErrors of `__post_init__` are passed on with the place.
    Raises SettingsError for unknown or missing keys, wrong types and refused values.
    """
    if not isinstance(mapping, Mapping):
        raise SettingsError(f"{where}: {mapping!r} is a {type(mapping).__name__}, expected a mapping of keys to values")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    check_keys(mapping, fields, where)
    hints = typing.get_type_hints(cls)
    values = {key: _converted(value, hints[key], f"{where}: {key}") for key, value in mapping.items()}
    missing = [name for name, field in fields.items() if name not in values and _required(field)]
    if missing:
        raise SettingsError(f"{where}: {', '.join(missing)} must be given")
    try:
        return cls(**values)
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error


def check_keys(mapping: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    """Raise SettingsError if `mapping` has a key that is not allowed; the message names the nearest allowed one."""
    names = list(allowed)
    for key in mapping:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(names)}"
            raise SettingsError(f"{where}: unknown key {key!r}; {hint}")


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _converted(value: Any, expected: Any, where: str) -> Any:
    """`value` as the type `expected`, or SettingsError."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return _first_fit(value, arguments, where)
    if expected is Any:
        return value
    if origin is typing.Literal:
        if value in arguments and type(value) in {type(argument) for argument in arguments}:
            return value
        raise _mismatch(where, value, f"one of {', '.join(map(str, arguments))}")
    if dataclasses.is_dataclass(expected):
        if isinstance(value, expected):  # type: ignore[arg-type]
            return value
        return settings_from_mapping(expected, value, where)  # type: ignore[arg-type]
    if origin in (list, tuple):
        return _sequence(value, origin, arguments, where)
    if origin is dict or expected is dict:
        return _dictionary(value, arguments, where)
    return _scalar(value, expected, where)


def _first_fit(value: Any, options: tuple[Any, ...], where: str) -> Any:
    problems = []
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(value, Mapping):
            return _converted(value, option, where)
        try:
            return _converted(value, option, where)
        except SettingsError as error:
            problems.append(error)
    expected = [str(problem).split("expected ", 1)[-1] for problem in problems]
    raise _mismatch(where, value, " or ".join(dict.fromkeys(expected)))


def _sequence(value: Any, kind: type, arguments: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _mismatch(where, value, "a list")
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _mismatch(where, value, f"a list of {len(arguments)} values")
        return tuple(_converted(item, each, where) for item, each in zip(value, arguments, strict=True))
    each = arguments[0] if arguments else Any
    return kind(_converted(item, each, where) for item in value)


def _dictionary(value: Any, arguments: tuple[Any, ...], where: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _mismatch(where, value, "a mapping of keys to values")
    key_type, item_type = arguments or (Any, Any)
    return {_converted(k, key_type, where): _converted(v, item_type, f"{where}: {k}") for k, v in value.items()}


def _scalar(value: Any, expected: Any, where: str) -> Any:
    if expected is types.NoneType:
        if value is None:
            return None
        raise _mismatch(where, value, "nothing (null)")
    if expected is float and isinstance(value, str) and "e" in value.lower():
        try:  # YAML 1.1 reads 1e-3 as text, and people write it
            value = float(value)
        except ValueError:
            raise _mismatch(where, value, "a number") from None
    boolean_as_number = isinstance(value, bool) and expected in (int, float)
    if expected is float and isinstance(value, (int, float)) and not boolean_as_number:
        if not abs(value) <= sys.float_info.max:
            raise _mismatch(where, value, "a finite number")
        return float(value)
    if isinstance(value, expected) and not boolean_as_number:
        return value
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise _mismatch(where, value, names.get(expected, expected.__name__))


def _mismatch(where: str, value: Any, expected: str) -> SettingsError:
    given = reprlib.repr(value)
    return SettingsError(f"{where}: given {given} ({type(value).__name__}), expected {expected}")
