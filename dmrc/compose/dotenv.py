"""Env files as Compose reads them: `.env`, `--env-file` and a service's `env_file`.

python-dotenv reads another language (no `$V`, no `${V-d}`, no `K: v`, other escapes), and a
difference would hand a program other variables than its container gets.

Source: https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dmrc.compose.interpolation import Lookup, substitute
from dmrc.errors import ProjectError

# Line breaks are no blanks here. Source: isSpace in compose-go's dotenv/parser.go.
_BLANKS = "\t\v\f\r \x85\xa0"
_BETWEEN_STATEMENTS = re.compile(r"(?:\s+|#[^\n]*)*")
_EXPORT = re.compile(rf"export[{_BLANKS}]+")
_SEPARATOR = re.compile(r"[=:\n]")
_ESCAPE = re.compile(r"\\([abcfnrtv$\"\\]|0\d{0,3})")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def with_env_files(environ: Mapping[str, str], directory: Path, env_files: Sequence[Path] = ()) -> dict[str, str]:
    """Return `environ` and, below it, what the env files define.

    Raises:
        ProjectError: As `env_file_variables`.
    """
    return {**env_file_variables(environ, directory, env_files), **environ}


def env_file_variables(environ: Mapping[str, str], directory: Path, env_files: Sequence[Path] = ()) -> dict[str, str]:
    """Return what the env files define, references to variables of `environ` and of earlier lines resolved.

    `env_files` are those of `--env-file`; else COMPOSE_ENV_FILES (comma-separated) names them,
    else it is `.env` in `directory`, if there. A later file wins over an earlier one, and
    `environ` over all of them.

    Raises:
        ProjectError: A named file is missing, or one cannot be read.
    """
    files = list(env_files) or [Path(name) for name in environ.get("COMPOSE_ENV_FILES", "").split(",") if name]
    if not files and not _is_default_disabled(environ) and (directory / ".env").is_file():
        files = [directory / ".env"]
    variables: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            raise ProjectError(f"env file '{file}' is not there", remedy="Name one that is with --env-file")
        read_into(variables, file, environ.get)
    return variables


def read_into(variables: dict[str, str], file: Path, lookup: Lookup, *, raw: bool = False) -> None:
    """Add what `file` defines to `variables`, over what is there.

    A reference in a value is looked up with `lookup` first, then in `variables`. `raw` is
    `env_file`'s `format: raw`: lines of `KEY=VALUE`, no quotes, no references.

    Raises:
        ProjectError: The file cannot be read or parsed; the message names file and line.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"env file '{file}' cannot be read: {error}") from error
    if raw:
        _read_raw(variables, file, text, lookup)
    else:
        _Parser(text, file, variables, lookup).parse()


def _is_default_disabled(environ: Mapping[str, str]) -> bool:
    """Say whether COMPOSE_DISABLE_ENV_FILE keeps Compose from reading `.env`."""
    value = environ.get("COMPOSE_DISABLE_ENV_FILE")
    if value is None or value in _FALSE:
        return False
    if value in _TRUE:
        return True
    raise ProjectError(f"COMPOSE_DISABLE_ENV_FILE must be true or false, not '{value}'")


def _read_raw(variables: dict[str, str], file: Path, text: str, lookup: Lookup) -> None:
    """Read the language of `docker run --env-file`."""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.removesuffix("\r").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        key, has_value, value = stripped.partition("=")
        if not key or re.search(r"\s", key):
            raise ProjectError(f"{file}:{number}: '{key}' cannot name a variable")
        inherited = value if has_value else lookup(key)
        if inherited is not None:
            variables[key] = inherited


class _Parser:
    """One pass over the text of an env file."""

    def __init__(self, text: str, file: Path, variables: dict[str, str], lookup: Lookup) -> None:
        """Parse `text` into `variables`; `file` is for messages."""
        self._text = text
        self._file = file
        self._variables = variables
        self._lookup = lookup
        self._position = 0

    def parse(self) -> None:
        """Read statement by statement until the end."""
        while self._skip_to_statement():
            key, is_inherited = self._read_key()
            value = self._lookup(key) if is_inherited else self._read_value()
            if value is not None:
                self._variables[key] = value

    def _skip_to_statement(self) -> bool:
        """Go to the next character that is neither white space nor in a comment."""
        if match := _BETWEEN_STATEMENTS.match(self._text, self._position):
            self._position = match.end()
        return self._position < len(self._text)

    def _read_key(self) -> tuple[str, bool]:
        """Read a key and its separator; without one the variable is inherited."""
        export = _EXPORT.match(self._text, self._position)
        start = export.end() if export else self._position
        separator = _SEPARATOR.search(self._text, start)
        end = separator.start() if separator else len(self._text)
        key = self._text[start:end].rstrip()
        for character in key:
            if not (character.isalnum() or character in "_.-[]" or character in _BLANKS):
                raise self._error(f"'{character}' cannot be in a variable's name")
        if any(blank in key for blank in _BLANKS):
            raise self._error(f"a variable's name cannot hold a space: '{key}'")
        self._position = separator.end() if separator else end
        return key, separator is None or separator[0] == "\n"

    def _read_value(self) -> str:
        """Read a value: quoted, over as many lines as it takes, or to the end of the line."""
        while self._position < len(self._text) and self._text[self._position] in _BLANKS:
            self._position += 1
        quote = self._text[self._position : self._position + 1]
        if quote in ("'", '"') and quote:
            return self._read_quoted(quote)
        line, _, _ = self._text[self._position :].partition("\n")
        self._position += len(line)
        return self._expand(line.partition(" #")[0].rstrip())

    def _read_quoted(self, quote: str) -> str:
        """Read up to the closing quote; only double quotes know escapes and references."""
        content = re.compile(rf"{quote}((?:\\.|[^\\{quote}])*){quote}", re.DOTALL)
        match = content.match(self._text, self._position)
        if match is None:
            raise self._error("a quote is opened and never closed")
        value = _unquote(match[1], quote)
        if quote == '"':
            value = self._expand(_ESCAPE.sub(_escaped, value))
        self._position = match.end()
        return value

    def _expand(self, value: str) -> str:
        """Replace references; what `lookup` knows wins over this file."""

        def find(name: str) -> str | None:
            found = self._lookup(name)
            return self._variables.get(name) if found is None else found

        try:
            return substitute(value, find)
        except ProjectError as error:
            raise self._error(error.message) from error

    def _error(self, problem: str) -> ProjectError:
        """Name file and line of a problem at the present position."""
        line = self._text.count("\n", 0, self._position) + 1
        return ProjectError(f"{self._file}:{line}: {problem}")


def _unquote(content: str, quote: str) -> str:
    """Turn an escaped quote into a quote and leave every other escape as it is."""
    return re.sub(r"\\(.)", lambda match: quote if match[1] == quote else match[0], content, flags=re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    """Return what an escape of a double-quoted value stands for."""
    code = match[1]
    if code == "$":
        # Still before references are replaced: `$$` becomes `$` there.
        return "$$"
    if code.startswith("0"):
        octal = code[1:]
        is_byte = re.fullmatch(r"[0-3][0-7]{2}", octal)
        return chr(int(octal, 8)) if is_byte else f"\\{octal}"
    return _ESCAPES.get(code, match[0])
