"""What the engine `ssh` keeps of what hosts have said. No host is asked: its session is played."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dmrc.engines.ssh import engine as engine_module
from dmrc.engines.ssh.engine import SshEngine
from dmrc.engines.ssh.hosted_use import HostedModel
from dmrc.engines.ssh.session import HostSession
from dmrc.project import ServingOptions
from dmrc.settings import Settings


def test_what_was_said_longest_ago_goes_and_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def told(session: HostSession, _what: str) -> HostedModel:
        asked.append(session._use.model)
        return HostedModel(f"sha256:{len(asked)}", "completion", "llama-server", None, 64)

    monkeypatch.setattr(HostSession, "told", told)
    monkeypatch.setattr(engine_module, "_MOST_KEPT", 2)
    options = ServingOptions(host="ssh://box")

    async def main() -> None:
        engine = SshEngine(Settings.from_environment({"DMRC_HOME": str(tmp_path)}))
        for model in ("a", "b", "a", "c"):
            await engine.described(model, options)
        await engine.ask("b", options, "load")  # it is the newest by that
        await engine.described("d", options)
        assert [model for model in "abcd" if engine.told(model, options)] == ["b", "d"]
        await engine.described("a", options)

    asyncio.run(main())

    assert asked == ["a", "b", "c", "b", "d", "a"]
