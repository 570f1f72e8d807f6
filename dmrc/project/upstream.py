"""An OpenAI-compatible server that serves a model instead of an engine of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dmrc.errors import ProjectError
from dmrc.fields import mapping, refuse_unknown, text

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What `x-dmrc: upstream` says. It holds no key: only where to find one."""

    url: str
    """Where its OpenAI routes begin, without a slash at the end: `https://api.example.com/v1`."""
    model: str
    """What that server calls the model."""
    key: str | None = None
    """Name of the environment variable that holds its key; None sends none."""

    @classmethod
    def parse(cls, value: object, model: str, where: str) -> Upstream | None:
        """Read a URL, or a mapping of `url`, `model` and `key`; None stays None. `model` is the declared name.

        Raises:
            ProjectError: It is neither, or holds a secret where a name should be.
        """
        if value is None:
            return None
        fields = {"url": value} if isinstance(value, str) else mapping(value, where)
        refuse_unknown(fields, ("url", "model", "key"), where)
        return cls(
            url=_url(text(fields.get("url"), f"{where}.url"), f"{where}.url"),
            model=text(fields.get("model") or model, f"{where}.model").strip(),
            key=_variable(fields.get("key"), f"{where}.key"),
        )


def _url(written: str, where: str) -> str:
    url = written.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ProjectError(f"{where} holds a password", remedy="Write key: NAME_OF_AN_ENVIRONMENT_VARIABLE instead")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ProjectError(
            f"{where} is '{written}', which is no URL of OpenAI routes", remedy="Write https://HOST/v1, for example"
        )
    return url


def _variable(value: object, where: str) -> str | None:
    """Return the name of a variable. What is no name may be a key, so the error does not repeat it."""
    if value is None:
        return None
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ProjectError(
            f"{where} is no name of an environment variable", remedy="Write key: OPENAI_API_KEY, without a $"
        )
    return value
