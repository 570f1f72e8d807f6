"""YAML as Compose reads it: YAML 1.2 words, 1.1 merge keys, no key twice.

PyYAML's own `safe_load` reads another language: there `on`, `no` and `y` are booleans, `1:30` is
90, `1e3` a string, a bare `=` an error, and the last of two equal keys wins in silence.

Source: https://github.com/yaml/go-yaml/blob/main/internal/libyaml/resolver.go
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite

import yaml

from dmrc.errors import ProjectError

# Compose's own bound: aliases of aliases of aliases must not eat the memory.
_MOST_VALUES = 100_000
_PLAIN = "!plain"
_TAGS_OF_COMPOSE = ("!reset", "!override")
_TAGS = "tag:yaml.org,2002:"
_INSTALL = "This needs Docker Compose: install it, or write the project without it"

_WORDS: dict[str, object] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WORDS |= {".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan")}
_WORDS |= {sign + word: float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}
_WORDS |= {"-0": -0.0, "-0.0": -0.0}

_BASES = ((re.compile(r"0[xX][0-9a-fA-F]+"), 16), (re.compile(r"0[bB][01]+"), 2), (re.compile(r"0[oO]?[0-7]+"), 8))
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_TIME = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)"
    r"(?:([Tt ])(\d\d?):(\d\d?):(\d\d?)(?:[.,](\d{1,9}))?(Z|[-+]\d\d:\d\d)?)?"
)


@dataclass(frozen=True, slots=True)
class TaggedValue:
    """A value with a tag of Compose's."""

    tag: str
    """`!reset` or `!override`."""
    value: object
    """What stands behind it."""


def read(text: str, name: str, *, keeps_tags: bool = False) -> Iterator[object]:
    """Yield the value of each document in `text`; `name` is the file's, for messages.

    With `keeps_tags` a value behind a tag of Compose's is `TaggedValue`; else the tag is refused.

    Shape:
        Mappings are `dict[str, object]` in the order of the file, dates are aware datetimes. Every
        value is a copy of its own, those behind an alias too.

    Raises:
        ProjectError: The text does not parse (one line, `FILE:LINE: …`), a mapping has a key twice
            or one that is no string, or a tag is used that only Compose understands.
    """
    try:
        for document in yaml.compose_all(text, Loader=_Loader):
            yield _Constructor(name, keeps_tags=keeps_tags).construct(document, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ProjectError(f"{where}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ProjectError(f"{name}: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):
    """PyYAML's parser, which marks a plain scalar instead of guessing its type."""

    def resolve(self, kind: type[yaml.Node], _value: str | None, implicit: tuple[bool, bool] | bool) -> str:
        """Return the tag of a node that carries none; `implicit` says first whether it is plain."""
        if kind is yaml.ScalarNode and isinstance(implicit, tuple) and implicit[0]:
            return _PLAIN
        return f"{_TAGS}str" if kind is yaml.ScalarNode else ""


class _Constructor:
    """Turns the nodes of one document into values."""

    def __init__(self, name: str, *, keeps_tags: bool) -> None:
        """Start on a document of the file `name`."""
        self._name = name
        self._keeps_tags = keeps_tags
        self._count = 0
        self._open: set[int] = set()

    def construct(self, node: yaml.Node, key: str) -> object:
        """Return the value of `node`, which stands under `key` (`services.app.image`)."""
        self._count += 1
        if self._count > _MOST_VALUES:
            raise self._error(node, f"the file holds more than {_MOST_VALUES} values, aliases resolved")
        if node.tag in _TAGS_OF_COMPOSE:
            if self._keeps_tags:
                return TaggedValue(node.tag, self._value(node, key))
            raise self._error(node, f"{key} is tagged {node.tag}", remedy=_INSTALL)
        return self._value(node, key)

    def _value(self, node: yaml.Node, key: str) -> object:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._error(node, f"{key} holds itself")
        self._open.add(id(node))
        value: object = self._mapping(node, key) if isinstance(node, yaml.MappingNode) else self._list(node, key)
        self._open.discard(id(node))
        return value

    def _list(self, node: yaml.Node, key: str) -> list[object]:
        """Return the value of a sequence."""
        return [self.construct(item, f"{key}[{index}]") for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, object]:
        """Return the value of a mapping; its own keys win over those that `<<` brings."""
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            name = self._key(key_node, key)
            line = key_node.start_mark.line + 1
            if name in lines:
                raise self._error(key_node, f"key '{name}' is there twice, first in line {lines[name]}")
            lines[name] = line
            if name == "<<" and key_node.tag == _PLAIN:
                merged = self._merged(value_node, key)
            else:
                own[name] = self.construct(value_node, f"{key}.{name}" if key else name)
        return {**merged, **own}

    def _key(self, node: yaml.Node, parent: str) -> str:
        if node.tag in _TAGS_OF_COMPOSE or not isinstance(node, yaml.ScalarNode):
            raise self._error(node, f"a key of {parent or 'the file'} must be a string")
        value = "<<" if node.value == "<<" else self._scalar(node)
        if not isinstance(value, str):
            raise self._error(node, f"key {node.value} of {parent or 'the file'} must be a string", remedy="Quote it")
        return value

    def _merged(self, node: yaml.Node, key: str) -> dict[str, object]:
        """Return what `<<` brings: of several mappings the first wins."""
        result: dict[str, object] = {}
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.construct(item, key)
            if not isinstance(value, dict):
                raise self._error(node, "'<<' takes a mapping or a list of mappings")
            result = {**value, **result}
        return result

    def _scalar(self, node: yaml.ScalarNode) -> object:
        """Return the value of a scalar, by its tag or, where it is plain, by its look."""
        if node.tag == _PLAIN:
            value = resolve_plain(node.value)
            if isinstance(value, float) and not isfinite(value):
                raise self._error(node, f"{node.value} is not a number that Compose takes", remedy="Quote it")
            return value
        kind = node.tag.removeprefix(_TAGS)
        if kind == "binary":
            try:
                return base64.b64decode(node.value).decode("utf-8", "replace")
            except ValueError as error:
                raise self._error(node, f"this is not base64: {error}") from error
        if kind not in ("bool", "int", "float", "null", "timestamp"):
            return node.value
        value = resolve_plain(node.value)
        expected = {"bool": bool, "int": int, "float": float, "null": type(None), "timestamp": datetime}[kind]
        if kind == "float" and type(value) is int:
            return float(value)
        if type(value) is not expected:
            raise self._error(node, f"'{node.value}' must be a {kind}")
        return value

    def _error(self, node: yaml.Node, problem: str, remedy: str | None = None) -> ProjectError:
        """Name file and line of a problem."""
        return ProjectError(f"{self._name}:{node.start_mark.line + 1}: {problem}", remedy=remedy)


def resolve_plain(text: str) -> object:
    """Return what an unquoted scalar means: None, bool, int, float, datetime or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if not re.match(r"[-+.0-9]", text):
        return text
    moment = _moment(text)
    if moment is not None:
        return moment
    if text.startswith("._"):
        return text
    plain = text.replace("_", "")
    number = _integer(plain)
    if number is not None:
        return number
    if _FLOAT.fullmatch(plain):
        value = float(plain)
        return text if value in (float("inf"), float("-inf")) else value
    return text


def _integer(text: str) -> int | None:
    """Return an integer in base 16, 2, 8 or 10 that fits 64 bits, else None."""
    digits = text.lstrip("+-") if text[:1] in "+-" and text[1:2] not in "+-" else text
    negative = text.startswith("-")
    for pattern, base in _BASES:
        if pattern.fullmatch(digits):
            value = int(digits.lower().replace("0o", "", 1) if base == 8 else digits, base)
            break
    else:
        if not re.fullmatch(r"0|[1-9][0-9]*", digits):
            return None
        value = int(digits)
    signed = -value if negative else value
    highest = 1 << 63 if text[:1] in "+-" else 1 << 64
    return signed if -(1 << 63) <= signed < highest else None


def _moment(text: str) -> datetime | None:
    """Return a date or time, aware, else None."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, separator, hour, minute, second, fraction, zone = match.groups()
    # A space takes no zone, a T demands one.
    if separator is not None and (separator == " ") != (zone is None):
        return None
    offset: timezone = UTC
    if zone is not None and zone != "Z":
        span = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        offset = timezone(-span if zone[0] == "-" else span)
    try:
        microsecond = int((fraction or "0").ljust(6, "0")[:6])
        clock = (int(hour or 0), int(minute or 0), int(second or 0), microsecond)
        return datetime(int(year), int(month), int(day), *clock, tzinfo=offset)
    except ValueError:
        return None
