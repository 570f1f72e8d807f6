"""What is wrong in the words and values of compose files, told with what was meant: Compose only names the place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dmrc.compose import yaml_text
from dmrc.compose.without_docker.service_keys import SERVICE_KEYS, TOP_LEVEL_KEYS
from dmrc.errors import ProjectError
from dmrc.suggestions import did_you_mean

_MODEL_KEYS = ("model", "context_size", "runtime_flags", "name", "x-dmrc")
_BINDING_KEYS = ("endpoint_var", "model_var")
_TAB = re.compile(r"^ *\t", re.MULTILINE)


def mistakes(files: Sequence[Path]) -> list[str]:
    """Return what is wrong with the words and values of each compose file, a line for each that has something.

    To be asked after a failure.
    """
    found: list[str] = []
    documents: dict[Path, list[Mapping[str, object]]] = {}
    for file in files:
        try:
            text = file.read_text()
            if tab := _TAB.search(text):
                line = text.count("\n", 0, tab.start()) + 1
                found.append(f"{file.name}:{line}: a tab indents the line; YAML takes spaces only")
                continue
            documents[file] = [_mapping(document) for document in yaml_text.read(text, str(file))]
        except (OSError, UnicodeDecodeError, ProjectError):
            continue  # what is wrong is no word
    declared = _declared([document for each in documents.values() for document in each], len(files))
    for file, each in documents.items():
        lines = [line for document in each for line in (*_of_document(document), *_undeclared(document, declared))]
        found += [f"{file.name}: {'; '.join(lines)}"] if lines else []
    return found


def _declared(documents: Sequence[Mapping[str, object]], files: int) -> frozenset[str] | None:
    """Return the models of all documents; None where others may hold more."""
    if len(documents) < files or any("include" in document for document in documents):
        return None
    return frozenset(name for document in documents for name in _mapping(document.get("models")))


def _undeclared(document: Mapping[str, object], declared: frozenset[str] | None) -> Iterator[str]:
    if declared is None:
        return
    for name, service in _mapping(document.get("services")).items():
        models = _mapping(service).get("models")
        for key in models if isinstance(models, list | dict) else ():
            if isinstance(key, str) and key not in declared and "$" not in key:
                known = did_you_mean(key, declared) or f"; declared: {', '.join(sorted(declared)) or 'none'}"
                yield f"services.{name}.models names '{key}', which is an undefined model{known}"


def _of_document(document: Mapping[str, object]) -> Iterator[str]:
    yield from _unknown(document, TOP_LEVEL_KEYS | {"x-dmrc"}, "the file")
    for name, service in _mapping(document.get("services")).items():
        fields = _mapping(service)
        yield from _unknown(fields, SERVICE_KEYS | {"x-dmrc"}, f"services.{name}")
        if not isinstance(models := fields.get("models"), list | dict | None):
            yield f"services.{name}.models is {models!r}; write a list: [{models}]"
        for key, binding in _mapping(models).items():
            where = f"services.{name}.models.{key}"
            if not isinstance(binding, dict | None):
                yield f"{where} is {binding!r}; write a mapping: {{endpoint_var: LLM_URL}}"
            yield from _unknown(_mapping(binding), _BINDING_KEYS, where)
            yield from _no_texts(_mapping(binding), _BINDING_KEYS, where)
    if not isinstance(models := document.get("models"), dict | None):
        yield f"models is {models!r}; write a mapping: {{llm: {{model: ai/smollm2}}}}"
    for name, model in _mapping(models).items():
        where = f"models.{name}"
        if not isinstance(model, dict):
            told, meant = ("empty", "ai/smollm2") if model is None else (repr(model), model)
            yield f"{where} is {told}; write a mapping: {{model: {meant}}}"
        yield from _unknown(_mapping(model), _MODEL_KEYS, where)
        yield from _wrong_values(_mapping(model), where)


def _wrong_values(model: Mapping[str, object], where: str) -> Iterator[str]:
    yield from _no_texts(model, ("model", "name"), where)
    size, flags = model.get("context_size"), model.get("runtime_flags")
    is_number = size.is_integer() if isinstance(size, float) else type(size) is int
    if size is not None and not is_number:
        told = "a ${VARIABLE} is a text to Compose; " if "$" in str(size) else ""
        yield f"{where}.context_size is {size!r}; {told}write an integer without quotes: 4096"
    if not isinstance(flags, list | None):
        words = ", ".join(f'"{word}"' for word in str(flags).split())
        yield f"{where}.runtime_flags is {flags!r}; write a list: [{words}]"
    for flag in flags if isinstance(flags, list) else ():
        if not isinstance(flag, str):
            yield f'{where}.runtime_flags must hold strings, not {flag!r}; put it in quotes: "{flag}"'


def _no_texts(fields: Mapping[str, object], names: Sequence[str], where: str) -> Iterator[str]:
    for name in names:
        if not isinstance(value := fields.get(name), str | None):
            yield f'{where}.{name} must be a string, not {value!r}; put it in quotes: "{value}"'


def _unknown(fields: Mapping[str, object], known: Collection[str], where: str) -> Iterator[str]:
    for name in fields:
        if name not in known and not name.startswith("x-"):
            meant = did_you_mean(name, known) or (f"; known: {', '.join(known)}" if len(known) < 8 else "")
            yield f"{where} has no key '{name}'{meant}"


def _mapping(value: object) -> Mapping[str, object]:
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else {}
