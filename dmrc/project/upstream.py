"""An OpenAI-compatible server that serves a model instead of an engine of ours, or several such servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit

from dmrc.errors import ProjectError
from dmrc.fields import JsonValue, mapping, refuse_unknown, text

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPlace:
    """One such server. It holds no key: only where to find one."""

    url: str
    """Where its OpenAI routes begin, without a slash at the end: `https://api.example.com/v1`."""
    model: str
    """What that server calls the model."""
    key: str | None = None
    """Name of the environment variable that holds its key; None sends none."""

    @classmethod
    def parse_one(cls, value: object, model: str, where: str) -> Self:
        """Read a URL, or a mapping of `url`, `model` and `key`. `model` is the declared name.

        Raises:
            ProjectError: It is neither, or holds a secret where a name should be.
        """
        fields = {"url": value} if isinstance(value, str) else mapping(value, where)
        refuse_unknown(fields, ("url", "model", "key"), where)
        return cls(
            url=_url(text(fields.get("url"), f"{where}.url"), f"{where}.url"),
            model=text(fields.get("model") or model, f"{where}.model").strip(),
            key=_variable(fields.get("key"), f"{where}.key"),
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON can hold it."""
        return {"url": self.url, "model": self.model, "key": self.key}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned, here or in another version."""
        return cls(url=document["url"], model=document["model"], key=document.get("key"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream(UpstreamPlace):
    """What `x-dmrc: upstream` says: one server, and those that serve the same model beside it."""

    others: tuple[UpstreamPlace, ...] = ()
    """The ones beside it."""

    @classmethod
    def parse(cls, value: object, model: str, where: str) -> Upstream | None:
        """Read what `parse_one` does, or a list of that; None stays None.

        Raises:
            ProjectError: It is none of these, or holds a secret where a name should be.
        """
        if value is None:
            return None
        if not isinstance(value, list):
            return cls.parse_one(value, model, where)
        if not value:
            raise ProjectError(f"{where} must name one server at least", remedy="Write upstream: [https://HOST/v1]")
        places: list[UpstreamPlace] = []
        for number, each in enumerate(value):
            place = UpstreamPlace.parse_one(each, model, f"{where}[{number}]")
            if place in places:
                raise ProjectError(f"{where}[{number}] names '{place.url}' again", remedy="Remove it")
            places.append(place)
        return replace(cls.from_json(places[0].to_json()), others=tuple(places[1:]))

    @property
    def all(self) -> tuple[UpstreamPlace, ...]:
        """Return the server and those beside it, in the order in which they were declared."""
        return (self, *self.others)

    def __str__(self) -> str:
        """Return the URLs, as people read them."""
        return ", ".join(each.url for each in self.all)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON can hold it; a version that knows of no others reads the first."""
        others: dict[str, JsonValue] = {"others": [each.to_json() for each in self.others]} if self.others else {}
        return {**UpstreamPlace.to_json(self), **others}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Upstream:
        """Read what `to_json` returned, here or in another version."""
        others = tuple(map(UpstreamPlace.from_json, document.get("others", ())))
        return cls(url=document["url"], model=document["model"], key=document.get("key"), others=others)


def _url(written: str, where: str) -> str:
    url = written.strip().rstrip("/")
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ProjectError(f"{where} holds a password", remedy="Write key: NAME_OF_AN_ENVIRONMENT_VARIABLE instead")
    if not _is_url_of_routes(url):
        raise ProjectError(
            f"{where} must be a URL of OpenAI routes, not '{written}'", remedy="Write https://HOST/v1, for example"
        )
    return url


def _is_url_of_routes(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_server = bool(parts.hostname) and parts.port != 0 and " " not in parts.netloc
    except ValueError:
        return False
    return is_server and parts.scheme in ("http", "https") and not (parts.query or parts.fragment)


def _variable(value: object, where: str) -> str | None:
    """Return the name of a variable. What is no name may be a key, so the error does not repeat it."""
    if value is None:
        return None
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ProjectError(
            f"{where} must be the name of an environment variable", remedy="Write key: OPENAI_API_KEY, without a $"
        )
    return value
