"""When are two requests the same: by what they ask, and not by what changes from run to run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable

from dmrc.cassettes.interaction import Asked
from dmrc.date_texts import without_dates
from dmrc.fields import JsonObject, JsonValue
from dmrc.project.replay import pattern_of

_HOW_NOT_WHAT = frozenset(
    ("model", "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "metadata", "keep_alive")
)
"""Fields at the top of a request that say who asks, or how the answer shall come. The model is told by its key."""

_CALL_IDS = frozenset(("tool_call_id", "tool_use_id", "call_id"))
"""Fields that name a call of a tool; so does `id` in an object that is one."""

_DATE, _ANYTHING = "<date>", "<ignored>"


class Matcher:
    """Says what of a request counts. For many threads."""

    def __init__(self, ignore: Iterable[str] = ()) -> None:
        """Leave out what `Replay.ignore` names, too."""
        entries = list(ignore)
        self._patterns = [re.compile(pattern) for entry in entries if (pattern := pattern_of(entry)) is not None]
        self.keys_of_lines: dict[int, str] = {}
        """Keys of lines that were read, by their hash: a run reads a cassette again whenever it has written to it."""
        self._paths = [_steps(entry) for entry in entries if pattern_of(entry) is None]

    def key(self, asked: Asked) -> str:
        """Return 16 hex digits that are equal for requests that ask the same."""
        parts = [asked.dialect, asked.path, asked.model, self.canonical(asked)]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def canonical(self, asked: Asked) -> JsonObject:
        """Return the body with nothing in it that may differ; that of `asked` stays as it is."""
        body: JsonValue = {name: value for name, value in asked.body.items() if name not in _HOW_NOT_WHAT}
        for path in self._paths:
            body = _without(body, path)
        return _object(_Walk(self._patterns).of(body))


class _Walk:
    """One walk through a request; ids of calls are numbered as they come."""

    def __init__(self, patterns: Iterable[re.Pattern[str]]) -> None:
        self._patterns = tuple(patterns)
        self._calls: dict[str, str] = {}

    def of(self, value: JsonValue) -> JsonValue:
        """Return the value as it counts."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self.of(entry) for entry in value]
        if isinstance(value, dict):
            is_call = _is_call(value)
            return {
                name: self._call(entry)
                if isinstance(entry, str) and (name in _CALL_IDS or (is_call and name == "id"))
                else self.of(entry)
                for name, entry in sorted(value.items())  # the order of names says nothing, nor do numbers of calls
                if entry is not None
            }
        # 1 and 1.0 are one number, as JSON has it.
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _call(self, name: str) -> str:
        return self._calls.setdefault(name, f"call-{len(self._calls) + 1}")

    def _text(self, text: str) -> str:
        text = without_dates(text, _DATE)
        for pattern in self._patterns:
            text = pattern.sub(_ANYTHING, text)
        return text


def _is_call(value: JsonObject) -> bool:
    """Return whether an object is a call of a tool: OpenAI's has a function, the others say it by their type."""
    return isinstance(value.get("function"), dict) or value.get("type") in ("tool_use", "function_call")


def _steps(path: str) -> list[str]:
    return [step for step in path.removeprefix("$").replace("[", ".").replace("]", "").split(".") if step]


def _without(value: JsonValue, steps: list[str]) -> JsonValue:
    """Return a value without what stands at a path; `*` is every entry. What it is told of is copied."""
    if not steps:
        return _ANYTHING
    first, *rest = steps
    go: Callable[[JsonValue], JsonValue] = lambda entry: _without(entry, rest)  # noqa: E731 it is short
    if isinstance(value, dict):
        if not rest and first != "*":
            return {name: entry for name, entry in value.items() if name != first}
        return {name: go(entry) if first in ("*", name) else entry for name, entry in value.items()}
    if isinstance(value, list):
        index = len(value) + int(first) if first.startswith("-") and first[1:].isdecimal() else first
        return [go(entry) if first == "*" or str(number) == str(index) else entry for number, entry in enumerate(value)]
    return value


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
