"""What a build of llama.cpp says of the graphics cards that it can use.

It is asked in a child, since drivers crash and hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from dmrc.engines.builds.build import Build
from dmrc.engines.devices import Device, DeviceList
from dmrc.engines.environment import child_environment
from dmrc.engines.failures import End

LIST_SECONDS = 30.0
"""How long a build may take. A driver that no program holds open takes seconds to wake several cards."""

_HEADING = "Available devices:"
_DEVICE = re.compile(r"^  ([^\s:]+): (.*) \((\d+) MiB, (\d+) MiB free\)( integrated)?$", re.MULTILINE)

# The list does not say which cards are a part of the processor; Vulkan says it in messages for debugging.
# Source: ggml_vk_print_gpu_info in https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-vulkan/ggml-vulkan.cpp
_DEBUG = {"LLAMA_ARG_LOG_VERBOSITY": "5"}
_VULKAN_INTEGRATED = re.compile(r"ggml_vulkan: (\d+) = .* \| uma: 1 \|")

# llama.cpp calls Apple's cards by this, or by the second until 2025, and gives all of them the type of other makers'.
_METAL = ("MTL", "Metal")
_KEEPER = (sys.executable, "-P", "-m", "dmrc.engines.exec_with_parent_death")
_REAP_SECONDS = 2.0
_LONGEST_LINE = 200


def of_build(build: Build) -> list[str]:
    """Return the command that lets a build list its devices."""
    return of_wheel(build.site) if build.program is None else of_binary(*build.argv)


def of_binary(*program: str | Path) -> list[str]:
    """Return the command that lets a `llama-server`, or what begins it, do it."""
    return [*_KEEPER, *map(str, program), "--list-devices"]


def of_wheel(directory: str | Path | None = None) -> list[str]:
    """Return the command that lets an xllamacpp do it: the one of this environment, or one in a directory of pip's."""
    place = [] if directory is None else [str(directory)]
    return [sys.executable, "-P", "-m", "dmrc.engines.llama_cpp.xllamacpp_devices", *place]


async def list_devices(command: Sequence[str], seconds: float = LIST_SECONDS) -> DeviceList:
    """Run a command that prints what `llama-server --list-devices` does, and read it. It never raises.

    Free memory is as the driver has it now. A child that hangs is killed, and one that even that does not end is left.
    Source: common_print_available_devices in https://github.com/ggml-org/llama.cpp/blob/master/common/arg.cpp
    """
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**child_environment(os.environ), **_DEBUG},
            start_new_session=True,
        )
    except OSError as error:
        return DeviceList(failure=f"died: {error}")
    try:
        async with asyncio.timeout(seconds):
            printed, complaints = await child.communicate()
    except TimeoutError:
        return DeviceList(failure=f"no answer in {seconds:g} s")
    finally:
        await _end(child)
    return _read(child.returncode or 0, printed.decode(errors="replace"), complaints.decode(errors="replace"))


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill what is left of it, and wait a moment: a child that waits for a driver does not end before that answers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REAP_SECONDS):
            await child.wait()


def _read(exit_code: int, printed: str, complaints: str) -> DeviceList:
    """Return what it said. What has no memory, as BLAS or a processor's matrix unit, is no card."""
    _, heading, listed = printed.rpartition(_HEADING)
    if exit_code == 0 and heading:
        integrated = {f"Vulkan{number}" for number in _VULKAN_INTEGRATED.findall(complaints + printed)}
        found = (_device(match, integrated) for match in _DEVICE.finditer(listed))
        return DeviceList(tuple(device for device in found if device.total_bytes))
    words = End("it", exit_code, out_of_memory=None).words()
    said = [line.strip() for line in (complaints or printed).splitlines() if line.strip()]
    last = f" ({said[-1][:_LONGEST_LINE]})" if said else ""
    return DeviceList(failure=f"died: {words[0] if words else f'exit code {exit_code}'}{last}")


def _device(match: re.Match[str], integrated: Collection[str]) -> Device:
    name, description, total_mib, free_mib, is_integrated = match.groups()
    is_metal = name.startswith(_METAL)
    return Device(
        name,
        description,
        int(total_mib) << 20,
        int(free_mib) << 20,
        shares_ram=is_metal or is_integrated is not None or name in integrated,
        maps_weights=is_metal,
    )
