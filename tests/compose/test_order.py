"""The first model of a service is its default, however Compose sorts them (#16, A1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.compose.order import restore_order

_BASE = "services: {base: {models: [zeta, alpha]}}\n"
_PROJECT = "services: {app: {models: [zeta, alpha]}}\n"


def _order(directory: Path, files: dict[str, str], *read: str) -> list[str]:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    document: dict[str, object] = {"services": {"app": {"models": {"alpha": None, "mid": None, "zeta": None}}}}
    restore_order(document, [directory / name for name in read])
    services = document["services"]
    assert isinstance(services, dict)
    return list(services["app"]["models"])


@pytest.mark.parametrize(
    ("files", "read", "wanted"),
    [
        ({"a": _PROJECT}, ["a"], ["zeta", "alpha", "mid"]),
        ({"a": "services: {app: {models: {mid: {model_var: X}, zeta: }}}\n"}, ["a"], ["mid", "zeta", "alpha"]),
        ({"a": _PROJECT, "b": "services: {x: {ports: !reset null}}\n"}, ["a", "b"], ["zeta", "alpha", "mid"]),
        ({"a": _PROJECT, "b": "services: {app: {models: !override [mid]}}\n"}, ["a", "b"], ["mid", "alpha", "zeta"]),
        ({"a": _PROJECT, "b": "services: {app: !override {models: [mid]}}\n"}, ["a", "b"], ["mid", "alpha", "zeta"]),
        ({"a": _PROJECT, "b": "services: {app: {models: !reset null}}\n"}, ["a", "b"], ["alpha", "mid", "zeta"]),
        ({"a": _BASE[:-2] + ", app: {extends: base, models: [mid]}}\n"}, ["a"], ["zeta", "alpha", "mid"]),
        (
            {"s/b": _BASE, "a": "services: {app: {extends: {file: s/b, service: base}, models: [mid]}}\n"},
            ["a"],
            ["zeta", "alpha", "mid"],
        ),
        ({"s/b": _PROJECT, "a": "include: [s/b]\n"}, ["a"], ["zeta", "alpha", "mid"]),
        ({"s/b": _PROJECT, "a": "include: [{path: [s/b]}]\n"}, ["a"], ["zeta", "alpha", "mid"]),
        ({"a": "services: {app: {extends: app, models: [zeta]}}\n"}, ["a"], ["zeta", "alpha", "mid"]),
        ({"a": "services: {app: {extends: {file: '${X}', service: b}}}\n"}, ["a"], ["alpha", "mid", "zeta"]),
    ],
    ids=[
        "short",
        "long",
        "a tag elsewhere",
        "override",
        "override of the service",
        "reset",
        "extends",
        "extends of a file",
        "include",
        "include in its long form",
        "extends itself",
        "a file that cannot be followed",
    ],
)
def test_models_stand_as_they_are_declared(
    tmp_path: Path, files: dict[str, str], read: list[str], wanted: list[str]
) -> None:
    assert _order(tmp_path, files, *read) == wanted
