"""Plugins as their authors write them: files, loaded into a `Plugins` of the test."""

from __future__ import annotations

import textwrap
from pathlib import Path

from dmrc import Exchange
from dmrc.hooks.plugin import Plugin
from dmrc.hooks.plugins import Plugins
from dmrc.project import LocalPlugin

PROJECT = "shop"
EXCHANGE = Exchange(id="1", method="POST", path="/v1/chat/completions", operation="chat", received_at=0.0)
PASSES = """
@hookimpl
def dmrc_request(request):
    request.body["messages"].clear()
"""
"""A plugin that returns nothing."""


def write(path: Path, source: str) -> Path:
    """Write a plugin with its imports before it."""
    head = "import asyncio, time\nfrom dmrc import Refusal, Request, Response, hookimpl\n\n"
    path.write_text(head + textwrap.dedent(source))
    return path


def load(plugins: Plugins, path: Path, source: str) -> Plugin:
    """Write a plugin and load it as the own one of `PROJECT`."""
    return plugins.load_local(PROJECT, LocalPlugin.of(write(path, source)))


def loaded(tmp_path: Path, *sources: str) -> Plugins:
    """Return plugins called `one`, `two`, …, all of which must load; the last one is asked first."""
    plugins = Plugins(wanted=None)
    for name, source in zip(("one", "two", "three"), sources, strict=False):
        plugin = load(plugins, tmp_path / f"{name}.py", source)
        assert plugin.state == "loaded", plugin.reason
    return plugins


def errors(plugins: Plugins, name: str = "one") -> object:
    """Return how many errors of a plugin were counted."""
    return next(plugin.to_json()["errors"] for plugin in plugins.all() if plugin.name == name)
