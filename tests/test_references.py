"""Nothing in the repository refers to a document, a file or a name in the code that is not there."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from dmrc.cli.app import App
from dmrc.cli.main import create_cli
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings
from tests.pages import ROOT, anchors, blocks, codes, page, pages, section, without_code
from tests.syntax_trees import FILES, nodes, tree

_MENTION = re.compile(r"(?<![\w/.:-])(?:[\w.-]+/)*[\w-]+\.md\b")
_URL = re.compile(r"https?://\S+")
_NOT_OURS = {"merge.md"}
"""Documents of others that comments name without a URL: of the Compose specification."""
_OF_USERS = {"compose.yaml", "ai/"}
"""What looks like a file of ours on a page, and is one of a user, or a namespace."""
_CODE = re.compile(r"(?P<path>[\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|js|sh|html|yaml|md)))(?::(?P<name>[\w.]+))?")
_SEEN = re.compile(r"[Ss]ee `[\w.]+`|`[A-Z][a-z]\w*\.[a-z]\w+`")
"""In the words about code, a name of ours: one that is to be seen, or a method with its class."""


def _files(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    return [ROOT / name for name in listed.stdout.splitlines() if name.endswith(suffixes) and (ROOT / name).exists()]


@pytest.mark.process
def test_a_document_that_is_mentioned_is_there() -> None:
    missing = {}
    for path in _files(".md", ".py", ".sh", ".toml", "Makefile", ".yaml"):
        mentioned = set(_MENTION.findall(_URL.sub("", path.read_text(errors="replace")))) - _NOT_OURS
        gone = {name for name in mentioned if not any((where / name).exists() for where in (path.parent, ROOT))}
        if gone and path != Path(__file__):
            missing[str(path.relative_to(ROOT))] = gone

    assert missing == {}


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", without_code(path.read_text()))

    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link}: there is no such file"
        assert not anchor or anchor in anchors(target.read_text()), f"{link}: there is no such heading"


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
)
def test_code_that_a_page_names_is_there(name: str) -> None:
    wrong = []
    mentioned = codes((ROOT / name).read_text())
    mentioned += [word for code in mentioned if " " in code for word in code.split() if "/" in word]
    for code in mentioned:
        found = _CODE.fullmatch(code)
        if found is None or code in _OF_USERS:
            continue
        path = next((base / found["path"] for base in (ROOT / "dmrc", ROOT) if (base / found["path"]).exists()), None)
        if path is None or (found["name"] and found["name"] not in _names(path)):
            wrong.append(code)

    assert not wrong


def test_what_a_docstring_says_to_see_is_there() -> None:
    """A method that was renamed, or a module that was moved, is easily left in the words about it."""
    known = {path.stem for path in FILES}.union(*map(_defined, FILES))

    missing = {
        f"{path.relative_to(ROOT)}: {seen}"
        for path in FILES
        for seen in _SEEN.findall(path.read_text())
        if not known.issuperset(seen.split("`")[1].split("."))
    }

    assert missing == set()


def _defined(path: Path) -> set[str]:
    """Return the names of all functions and classes of a module, and of what is assigned at its top or in a class."""
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


_PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted(ROOT.glob("docs/*.md"))


def _typed(text: str, program: str) -> list[list[str]]:
    """Return the words behind a program, wherever a page has it as code: `make test ARGS="-k x"`, `dmrc key list`."""
    typed = "\n".join([*codes(text), *blocks(text, "sh"), *blocks(text, "console")])
    found = re.findall(rf"(?:^|&& |\$ |; )(?:[A-Z_]+=\S+ )*{program} ([^|&;#\n]+)", typed, re.MULTILINE)
    return [words.split() for words in found]


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.name)
def test_what_a_page_has_made_is_a_target_of_the_makefile(path: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = {words[0] for words in _typed(path.read_text(), "make")}

    assert named <= targets


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.name)
def test_a_command_that_a_page_names_is_there_with_its_flags(tmp_path: Path, path: Path) -> None:
    plugins, wrong = Plugins(()), []
    app = App(Settings.from_environment({"DMRC_HOME": str(tmp_path)}), plugins)
    cli = create_cli(plugins)

    for words in _typed(path.read_text(), "dmrc"):
        command: click.Command | None = cli
        left = words[: words.index("--")] if "--" in words else list(words)
        while isinstance(command, click.Group) and left and re.fullmatch(r"[a-z][a-z-]*", left[0]):
            command = command.get_command(click.Context(command, obj=app), left.pop(0))
        flags = {flag for param in getattr(command, "params", ()) for flag in (*param.opts, *param.secondary_opts)}
        used = {word.partition("=")[0].strip("[]") for word in left if word.startswith(("-", "[-"))} - {"--help"}
        if command is None or not used <= flags:
            wrong.append(" ".join(words))

    assert not wrong


def test_a_section_that_the_ten_changes_name_is_there() -> None:
    named = re.findall(r"`(docs/[\w.-]+\.md)`, section ([A-Z][\w ]*)", page("CONTRIBUTING.md"))

    assert named
    for name, title in named:
        assert section(page(name), title)


@cache
def _names(path: Path) -> set[str]:
    """Return what a module defines, and what its classes do: `main`, `Store`, `Store.add`."""
    names = set()
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            members = (inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{inner.name}" for inner in members}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
