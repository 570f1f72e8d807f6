"""Which values of a compose project are secrets, so that they can be kept out of the record of requests."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from dmrc.errors import InputError
from dmrc.paths import expanded
from dmrc.secret_names import is_secret_name, secrets_in_urls
from dmrc.secret_texts import TOKEN, secrets_in_text

_NOT_TOLD = ("environment", "image", "models", "networks", "depends_on", "profiles", "secrets")
"""Keys of a service that hold no text of a program, or are looked at by themselves."""
_NOT_TOLD_AS_WRITTEN = ("models", "name", "secrets", "configs")
_NOT_TOLD_ON_TOP = (*_NOT_TOLD_AS_WRITTEN, "services")
_SHORTEST = 8
_SHORTEST_MIXED = 6
"""Of a password that has letters and digits: what is shorter may stand anywhere in a text."""
_SHORTEST_DECLARED = 4
_SHORTEST_LINE = 16
_LARGEST_FILE_BYTES = 64 << 10

_TRIVIAL = frozenset(
    {
        *("disabled", "enabled", "required", "optional", "not-required", "undefined"),
        *("password", "changeme", "localhost", "postgres"),
    }
)
_RANDOM = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_RANDOM_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{32,}")
_RANDOM_BITS = 4.0


def project_secrets(
    document: Mapping[str, object],
    directory: Path,
    environ: Mapping[str, str],
    variables: Mapping[str, str],
    written: Sequence[object] = (),
) -> tuple[str, ...]:
    """Return the values of a project that must not be recorded, each once.

    Those are the values of `secrets:`, and what looks like a secret in `environment:`, in env files, in `configs:`, and
    in all else that a service is told (`command:`). `document` is what `docker compose config` prints, in which env
    files have become `environment`; `environ` is what it read, `variables` are those that the project's files define
    or refer to; `written` are its files as they are, for what `config` leaves out.
    Files that cannot be read are left to Compose to complain about.
    """
    found: list[str] = []
    for name, value in variables.items():
        found += _of_variable(name, value)
    for service in _mappings(document.get("services")):
        environment = service.get("environment")
        for name, value in environment.items() if isinstance(environment, dict) else ():
            found += _of_variable(str(name), "" if value is None else str(value))
        found += _told({name: each for name, each in service.items() if name not in _NOT_TOLD})
    for name in _upstream_variables(document.get("models")):
        found += _parts(environ.get(name, ""))
    for whole in (document, *(each for each in written if isinstance(each, dict))):
        for _, text in _declared(whole.get("secrets"), directory, environ):
            found += _parts(text)
        for name, text in _declared(whole.get("configs"), directory, environ):
            found += _of_variable(name, text)
        not_told = _NOT_TOLD_ON_TOP if whole is document else _NOT_TOLD_AS_WRITTEN
        found += _told({name: each for name, each in whole.items() if name not in not_told})
    return tuple(dict.fromkeys(found))


def _upstream_variables(models: object) -> Iterator[str]:
    """Yield the names of the variables that hold the keys of upstreams."""
    for model in _mappings(models):
        options = model.get("x-dmrc")
        said = options.get("upstream") if isinstance(options, dict) else None
        for upstream in said if isinstance(said, list) else [said]:
            name = upstream.get("key") if isinstance(upstream, dict) else None
            if isinstance(name, str):
                yield name


def _of_variable(name: str, value: str) -> Iterator[str]:
    for secret in secrets_in(name, value):
        yield from _parts(secret)
    yield from _in_text(value)


def _told(value: object) -> Iterator[str]:
    """Yield what is secret in the texts of a value: `--token=…`, `["--token", "…"]`, `TOKEN=…`, a password in a URL."""
    if isinstance(value, dict):
        for name, entry in value.items():
            for each in entry if isinstance(entry, list) else [entry]:
                if isinstance(each, str | int) and not isinstance(each, bool):
                    yield from secrets_in(str(name), str(each))
            yield from _told(entry)
    elif isinstance(value, list):
        texts = [entry for entry in value if isinstance(entry, str)]
        yield from _in_words([word for entry in texts for word in entry.split()])
        yield from (secret for entry in [*value, " ".join(texts)] for secret in _told(entry))
    elif isinstance(value, str):
        yield from _in_words(value.split())
        yield from _in_text(value)


def _in_text(text: str) -> Iterator[str]:
    """Yield what in a text stands under a secret's name, or looks like a secret."""
    for start, end in secrets_in_text(text):
        if _is_long(found := text[start:end].strip()):
            yield from (found, *(part for part in _in_url(f"://{found}@") if _is_long(part)))


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
        return [part for part in found if _is_long(part)]
    if not _is_long(value):
        return []
    is_key = name.lower() == "key" and not _VARIABLE.fullmatch(value)
    return [value] if is_key or TOKEN.fullmatch(value) or _is_random(value) or is_secret_name(name) else []


def _is_long(value: str) -> bool:
    """Return whether a value is long and odd enough that it stands in no text by chance."""
    if value.lower() in _TRIVIAL or re.fullmatch(r"[\d.,:]+", value):
        return False
    is_mixed = len(value) >= _SHORTEST_MIXED and any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return is_mixed or len(value) >= _SHORTEST


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


def _declared(secrets: object, directory: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the contents of the top-level `secrets:` or `configs:`, after the variable's name if they come from one.

    An external one is unknown.
    """
    for secret in _mappings(secrets):
        if isinstance(content := secret.get("content"), str):
            yield "", content
        elif isinstance(name := secret.get("environment"), str):
            yield name, environ.get(name, "")
        elif isinstance(path := secret.get("file"), str):
            try:
                # Of what is no file (a pipe, a device) the end may never come.
                if (place := directory / expanded(path)).is_file():
                    with place.open("rb") as file:
                        yield "", file.read(_LARGEST_FILE_BYTES).decode()
            except (OSError, UnicodeDecodeError, InputError):
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
