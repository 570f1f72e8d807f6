"""One ssh process, played by a shell, and what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dmrc.engines.ssh.link import Link

TALKATIVE = """
head -c 300000 /dev/zero | tr '\\0' x >&2
echo >&2
echo 'Permission denied' >&2
echo 'dmrc-hosting {"version": "1"}'
"""


@pytest.mark.process
def test_a_line_without_an_end_holds_up_neither_ssh_nor_what_it_says_next(tmp_path: Path) -> None:
    async def main() -> tuple[object, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("sh", "-c", TALKATIVE, stdin=pipe, stdout=pipe, stderr=pipe)
        link = Link(process, tmp_path / "socket", lambda _link: None)
        async with asyncio.timeout(10):
            told = await link.hello()
            await link.ended.wait()
            await link._stderr
            await link.close()
        return told, link.said[-1]

    assert asyncio.run(main()) == ({"version": "1"}, "Permission denied")
