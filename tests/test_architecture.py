"""The floors of docs/ARCHITECTURE.md: a module imports from a lower floor or from its own room, and nothing else."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests import docstrings
from tests.pages import page, rows, section
from tests.syntax_trees import FILES, ROOT, nodes, tree

FLOORS = {
    "errors": 0, "paths": 0, "settings": 0, "fields": 0, "suggestions": 0, "secret_names": 0, "threads": 0,
    "background": 0, "listening": 0, "streaming": 0,
    "daemon_lock": 1, "state": 1, "answer": 1, "reference": 1, "artifact": 1, "gguf": 1, "project": 1, "exchange": 1,
    "secret_texts": 1, "proxies": 1, "json_values": 1, "json_bytes": 1, "event_stream": 1, "log_tail": 1,
    "decompression": 1, "files": 1, "docker_context": 1, "safetensors": 1, "tar_entries": 1,
    "told_errors": 1, "retry_after": 1,
    "date_texts": 1,
    "common_beginning": 1, "figures": 1,
    "store": 2, "sources": 2, "compose": 2, "engines": 2, "dialects": 2,
    "capture": 3, "hooks": 3, "models": 3, "installing": 3, "scheduler": 3, "projects": 3, "kubernetes": 3,
    "comparison": 4, "cassettes": 4, "lens": 4, "health": 4, "conversations": 4,
    "gateway": 5, "ui": 6,
    "cli": 7, "docker_model": 8, "pytest_plugin": 8, "__main__": 8,
}  # fmt: skip

MODULES = [path for path in FILES if path != ROOT / "__init__.py"]  # that one exports to plugins


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """Return a module's full name."""
    return ".".join(["dmrc", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of each import of dmrc, those of functions and for type checkers among them."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            module = name if name in NAMES else name.rpartition(".")[0]
            if module in NAMES:
                yield node.lineno, module


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    return ((line, module.split(".")[1]) for line, module in imports(path))


def test_a_module_imports_only_from_below_or_from_its_own_room() -> None:
    assert {room_of(path) for path in MODULES} <= FLOORS.keys(), "add it to docs/ARCHITECTURE.md and to this table"

    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
        for path in MODULES
        for room in [room_of(path)]
        for line, other in imported_rooms(path)
        if other != room and FLOORS[other] >= max(FLOORS[room], 1)
    ]

    assert not wrong


def test_the_ground_imports_nothing_of_dmrc_but_errors() -> None:
    """Of floor 0 a module may use these others; a circle would show here."""
    allowed = {
        "settings": {"errors", "paths", "listening"},
        "listening": {"errors"},
        "streaming": {"background"},
        "background": {"threads"},
        "paths": {"errors"},
        "errors": set(),
        "fields": {"errors", "suggestions"},
    }

    found = {room: {other for _, other in imported_rooms(ROOT / f"{room}.py")} for room in allowed}

    assert found == allowed


def test_a_file_and_its_functions_are_of_a_size_to_be_read() -> None:
    """A file above 300 lines wants to be two, and a function above 50 lines has steps with names of their own."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)

    long_files = [path for path in MODULES if path.read_text().count("\n") > 300]
    long_functions = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, functions) and (node.end_lineno or 0) - node.lineno + 1 > 50
    ]

    assert not long_files
    assert not long_functions


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports for type checkers count: who reads one of the files would have to read all of them."""
    graph = {name: {module for _, module in imports(path)} - {name} for name, path in NAMES.items()}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_a_class_name_means_one_thing() -> None:
    """Public classes at the top of a module, and names that are given to types."""
    found = defaultdict(set)
    for module, path in NAMES.items():
        for node in tree(path).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [one.id for one in node.targets if isinstance(one, ast.Name)]
            for name in names:
                if re.match("[A-Z].*[a-z]", name):
                    found[name].add(module)

    assert not {name: modules for name, modules in found.items() if len(modules) > 1}


def test_no_docstring_only_repeats_the_name() -> None:
    """Leave it out, or say what the name does not say.

    Handlers of routes and their models keep theirs: it is what the OpenAPI document says of them.
    """
    described = (ROOT / "gateway" / "routes", ROOT / "ui")
    found = []
    for path in MODULES:
        names = {node.name for node in docstrings.empty(nodes(path))}
        if path.is_relative_to(described[0]) or path.is_relative_to(described[1]):
            names &= {"__init__", "add_to", "close"}
        found += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(names)]

    assert not found


def test_the_table_of_the_floors_is_this_one() -> None:
    table = rows(section(page("docs/ARCHITECTURE.md"), "Floors"))

    assert {room: int(floor) for floor, names, _ in table for room in re.findall(r"`(\w+)`", names)} == FLOORS
