"""Which values of a compose project are secrets, so that they can be kept out of the record of requests."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from dmrc.secret_names import is_secret_name, secrets_in_urls

_NOT_TOLD = ("environment", "image", "models", "networks", "depends_on", "profiles", "secrets")
"""Keys of a service that hold no text of a program, or are looked at by themselves."""
_SHORTEST = 8
_SHORTEST_DECLARED = 4
_SHORTEST_LINE = 16
_LARGEST_FILE_BYTES = 64 << 10

_TRIVIAL = frozenset(
    {
        *("disabled", "enabled", "required", "optional", "not-required", "undefined"),
        *("password", "changeme", "localhost", "postgres"),
    }
)
# Prefixes that the services named give their tokens, so that scanners find them.
_TOKEN = re.compile(
    r"(?:sk|rk|pk)[-_](?:live_|test_|proj-|ant-|or-|dmrc-)?[\w-]{16,}"  # OpenAI, Anthropic, Stripe
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{20,}|hf_\w{20,}|npm_\w{30,}|pypi-[\w-]{30,}|dckr_pat_[\w-]{20,}|gsk_\w{20,}"
    r"|SG\.[\w.-]{30,}|glsa_\w{20,}|dop_v1_\w{30,}|tskey-[\w-]{16,}|r8_\w{20,}|xai-\w{20,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*"
)
_RANDOM = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_RANDOM_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{32,}")
_RANDOM_BITS = 4.0


def project_secrets(
    document: Mapping[str, object], directory: Path, environ: Mapping[str, str], variables: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the values of a project that must not be recorded, each once.

    Those are the values of `secrets:`, and what looks like a secret in `environment:`, in env files, and in all else
    that a service is told (`command:`). `document` is what `docker compose config` prints, in which env files have
    become `environment`; `environ` is what it read, `variables` are those that the project's files define or refer to.
    Files that cannot be read are left to Compose to complain about.
    """
    found: dict[str, None] = {}
    for text in _declared(document.get("secrets"), directory, environ):
        found.update(dict.fromkeys(_parts(text)))
    for name, value in variables.items():
        found.update(dict.fromkeys(secrets_in(name, value)))
    for service in _mappings(document.get("services")):
        environment = service.get("environment")
        for name, value in environment.items() if isinstance(environment, dict) else ():
            found.update(dict.fromkeys(secrets_in(str(name), "" if value is None else str(value))))
        found.update(dict.fromkeys(_told({name: each for name, each in service.items() if name not in _NOT_TOLD})))
    return tuple(found)


def _told(value: object) -> Iterator[str]:
    """Yield what is secret in the texts of a value: `--token=…`, `["--token", "…"]`, `TOKEN=…`, a password in a URL."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from secrets_in(str(name), entry) if isinstance(entry, str) else ()
            yield from _told(entry)
    elif isinstance(value, list):
        yield from _in_words([word for entry in value if isinstance(entry, str) for word in entry.split()])
        yield from (secret for entry in value if not isinstance(entry, str) for secret in _told(entry))
    elif isinstance(value, str):
        yield from _in_words(value.split())


def _in_words(words: Sequence[str]) -> Iterator[str]:
    for before, word in zip(("", *words), words, strict=False):
        name, equals, assigned = word.strip("\"'").partition("=")
        if equals and "://" not in name:
            yield from secrets_in(name.lstrip("-"), assigned.strip("\"'"))
        yield from secrets_in(before.lstrip("-") if before.startswith("-") else "", word.strip("\"'"))


def secrets_in(name: str, value: str) -> list[str]:
    """Return what of a variable is secret: its value, the password and parameters in a URL, or nothing."""
    value = value.strip()
    if found := _in_url(value):
        return [part for part in found if len(part) >= _SHORTEST]
    if len(value) < _SHORTEST or value.lower() in _TRIVIAL or re.fullmatch(r"[\d.,:]+", value):
        return []
    if _TOKEN.fullmatch(value) or _is_random(value) or is_secret_name(name) or name.lower() == "key":
        return [value]
    return []


def _is_random(value: str) -> bool:
    """Return whether a value looks as if a generator had made it."""
    if _RANDOM_HEXADECIMAL.fullmatch(value):
        return True
    kinds = (str.isupper, str.islower, str.isdigit)
    if not _RANDOM.fullmatch(value) or not all(any(map(kind, value)) for kind in kinds):
        return False
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares) >= _RANDOM_BITS


def _in_url(value: str) -> list[str]:
    """Return the password of a URL, or the token in its place, and its parameters of a secret name, also decoded."""
    found = []
    for start, end in secrets_in_urls(value):
        user, _, password = (
            value[start:end].partition(":") if value[end : end + 1] == "@" else ("", "", value[start:end])
        )
        found += [part := password or user, unquote(part)]
    return list(dict.fromkeys(found))


def _declared(secrets: object, directory: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the contents of the top-level `secrets:`; an external one is unknown."""
    for secret in _mappings(secrets):
        if isinstance(name := secret.get("environment"), str):
            yield environ.get(name, "")
        elif isinstance(path := secret.get("file"), str):
            try:
                with (directory / Path(path).expanduser()).open("rb") as file:
                    yield file.read(_LARGEST_FILE_BYTES).decode()
            except (OSError, UnicodeDecodeError):
                continue


def _parts(text: str) -> Iterator[str]:
    """Yield a secret's value, and of one with several lines or fields also each of these: a program may use one."""
    value = text.strip()
    if len(value) >= _SHORTEST_DECLARED and value.lower() not in ("true", "false", "null", "none"):
        yield value
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        for name, field in document.items():
            if isinstance(field, str):
                yield from secrets_in(str(name), field)
                yield from _lines(field)
    else:
        yield from _lines(value)


def _lines(value: str) -> Iterator[str]:
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))


def _mappings(value: object) -> Iterator[Mapping[str, object]]:
    """Yield the entries of a mapping that are mappings themselves."""
    if isinstance(value, dict):
        yield from (entry for entry in value.values() if isinstance(entry, dict))
