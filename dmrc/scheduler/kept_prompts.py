"""Prompts of idle runners that ended, as files: the next runner of the same key need not compute them again.

llama.cpp's server writes what a slot holds into a file, and reads it back (`--slot-save-path`). A prompt is kept where
that pays, by what was measured of its runner: to compute it takes half a second, and four times what the file took.

The files hold what was asked and answered. So they lie in a directory of mode 0700, and each goes when it was read,
when its project ends, when somebody unloads its model, after a day, and when a daemon starts or ends. `Slots.take` is
told whose prompts may be kept at all. All together they take 4 GiB at most, and leave 4 GiB of the disk free; those
that were kept longest go first.
Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md (`POST /slots/{id_slot}?action=save`)
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dmrc.engines.session import Session
from dmrc.gguf import format_size
from dmrc.scheduler.runner import ManagedRunner
from dmrc.scheduler.sent_prompt import SentPrompt
from dmrc.scheduler.slots import Slot
from dmrc.scheduler.target import Target

_log = logging.getLogger(__name__)

_MOST_BYTES = 4 << 30
_FREE_BYTES = 4 << 30
_LONGEST_SECONDS = 24 * 3600.0
_SAVE_SECONDS = 10.0  # for all slots of a runner
_RESTORE_SECONDS = 10.0
_LEAST_SECONDS = 0.5  # to compute a prompt again
_TIMES_THE_FILE = 4
_CHARACTERS_OF_A_TOKEN = 3  # or more: what may be worth it is found out by trying


@dataclass(frozen=True, slots=True)
class KeptPrompt:
    """What one slot held."""

    path: Path
    """Its file."""
    target: Target
    """What its runner served."""
    slot: int
    """The number of the slot."""
    prompt: SentPrompt
    """What was sent to it last."""
    tokens: int
    """How many tokens the file has."""
    size_bytes: int
    """How large the file is; one of another size was cut, and would end the server that reads it."""
    build: str
    """Which build of the engine wrote it: no other one reads it."""
    since: float
    """When it was kept, on the monotonic clock."""


class KeptPrompts:
    """The files of one daemon. All methods run on its event loop; none raises for what happens to a file."""

    def __init__(self, directory: Path) -> None:
        """Keep files in `directory`, of which those go that an earlier daemon left."""
        self.directory = directory
        self.mask: Callable[[str], str] = str
        """Takes the secrets of projects out of a text; no file has a prompt with one."""
        self._kept: dict[str, list[KeptPrompt]] = {}
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def close(self) -> None:
        """Remove all files."""
        self.forget(list(self._kept))
        shutil.rmtree(self.directory, ignore_errors=True)

    def forget(self, keys: Collection[str]) -> None:
        """Remove the files of these runners."""
        for key in keys:
            for one in self._kept.pop(key, ()):
                one.path.unlink(missing_ok=True)

    def forget_model(self, digest: str) -> None:
        """Remove the files of all runners of a model."""
        self.forget([target.key for target in self.targets() if target.digest == digest])

    def targets(self) -> list[Target]:
        """Return what the runners served of which there are files."""
        return [several[0].target for several in self._kept.values() if several]

    async def save(self, runner: ManagedRunner) -> bool:
        """Keep what pays of a runner that is idle, within ten seconds; False where somebody used it meanwhile."""
        idle_since = runner.idle_since
        await self._save_all(runner)
        if runner.is_idle and runner.idle_since == idle_since:
            return True
        self.forget({runner.key})
        return False

    async def _save_all(self, runner: ManagedRunner) -> None:
        build = runner.engine.saves_slots(runner.target.model, runner.target.options)
        if build is None or runner.slots is None or runner.session is None or not runner.slots.may_be_kept:
            return
        try:
            async with asyncio.timeout(_SAVE_SECONDS):
                seconds = await self._seconds_of_a_token(runner)
                for slot in sorted(runner.slots.all, key=lambda slot: -slot.used):
                    if slot.prompt is not None and slot.may_be_kept and await self._may_pay(slot.prompt, seconds):
                        await self._save(runner, runner.session, slot, slot.prompt, build, seconds)
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            _log.warning("prompts of model %s are not kept: %s", runner.name, error or "the engine was too slow")
        if kept := self._kept.get(runner.key):
            size = format_size(sum(one.size_bytes for one in kept))
            _log.info(
                "%d tokens of prompts of model %s are kept: %s", sum(one.tokens for one in kept), runner.name, size
            )

    async def restore(self, runner: ManagedRunner) -> bool:
        """Give a runner that has started what was kept for its key; False where its engine died of that.

        Whatever happens, the files are gone then.
        """
        kept, session, slots = self._kept.pop(runner.key, []), runner.session, runner.slots
        build = runner.engine.saves_slots(runner.target.model, runner.target.options)
        try:
            if session is None or slots is None:
                return True
            async with asyncio.timeout(_RESTORE_SECONDS):
                for one in kept:
                    if one.build == build and one.slot < len(slots.all) and _size(one.path) == one.size_bytes:
                        await _ask(session, one.slot, "restore", one.path)
                        slots.holds(one.slot, one.prompt)
        except (TimeoutError, ValueError, KeyError) as error:
            _log.warning("prompts of model %s are computed again: %s", runner.name, error or "the engine was too slow")
        except OSError as error:
            _log.warning("prompts of model %s are computed again: the engine broke off: %s", runner.name, error)
            return False
        finally:
            for one in kept:
                one.path.unlink(missing_ok=True)
        return True

    async def _seconds_of_a_token(self, runner: ManagedRunner) -> float:
        """Return how long this runner has taken to compute a token of a prompt."""
        counts = await runner.counts_soon()
        return counts.prompt_seconds / counts.computed if counts is not None and counts.computed else 0.0

    async def _may_pay(self, prompt: SentPrompt, seconds: float) -> bool:
        text = "\n".join(prompt.texts())
        if len(text) / _CHARACTERS_OF_A_TOKEN * seconds < _LEAST_SECONDS:
            return False
        return await asyncio.to_thread(self.mask, text) == text

    async def _save(
        self, runner: ManagedRunner, session: Session, slot: Slot, prompt: SentPrompt, build: str, seconds: float
    ) -> None:
        """Write one slot, and keep the file if it pays."""
        memory = runner.need.memory if runner.need is not None else None
        most = 0 if memory is None else memory.kv_bytes // len(runner.slots.all if runner.slots else (slot,))
        if not self._has_room(most, runner.key):
            return
        path = self.directory / f"{runner.key}-{slot.number}.bin"
        began = time.monotonic()
        try:
            told = await _ask(session, slot.number, "save", path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        took, tokens, size = time.monotonic() - began, int(told["n_saved"]), int(told["n_written"])
        if tokens * seconds < max(_LEAST_SECONDS, _TIMES_THE_FILE * took) or _size(path) != size:
            path.unlink(missing_ok=True)
            return
        path.chmod(0o600)
        one = KeptPrompt(path, runner.target, slot.number, prompt, tokens, size, build, time.monotonic())
        self._kept.setdefault(runner.key, []).append(one)
        asyncio.get_running_loop().call_later(_LONGEST_SECONDS, self._expire)

    def _has_room(self, size_bytes: int, key: str) -> bool:
        """Return whether there is room for a file, once those that were kept longest are gone."""
        for other in [other for other in self._kept if other != key]:
            if self._fits(size_bytes):
                break
            self.forget([other])
        return self._fits(size_bytes)

    def _fits(self, size_bytes: int) -> bool:
        kept = sum(one.size_bytes for one in self._all())
        return kept + size_bytes <= _MOST_BYTES and shutil.disk_usage(self.directory).free >= size_bytes + _FREE_BYTES

    def _expire(self) -> None:
        now = time.monotonic()
        self.forget([one.target.key for one in self._all() if now - one.since >= _LONGEST_SECONDS])

    def _all(self) -> Iterator[KeptPrompt]:
        return (one for several in self._kept.values() for one in several)


async def _ask(session: Session, slot: int, action: str, path: Path) -> dict[str, int]:
    """Have the engine write or read a file; return what it tells.

    Raises:
        ConnectionError: It has gone.
        ValueError: It refuses.
    """
    body = json.dumps({"filename": path.name}).encode()
    asked = await session.post(f"/slots/{slot}?action={action}", {"content-type": "application/json"}, body)
    with closing(asked) as answer:
        text = b"".join([chunk async for chunk in answer])
        if answer.status != 200:
            raise ValueError(text.decode(errors="replace")[:500])
    told: dict[str, int] = json.loads(text)
    return told


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
