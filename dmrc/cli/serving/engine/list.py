"""`dmrc engine list`: the builds of llama.cpp, and the devices that each can use."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option

if TYPE_CHECKING:
    from dmrc.engines.builds.build import Build
    from dmrc.engines.builds.builds import Builds
    from dmrc.engines.devices import DeviceList


@click.command("list", epilog="Example: dmrc engine list --json | jq '.[] | select(.in_use)'")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List the builds, with the devices of each.

    `*` is the build in use, and a device is a graphics card that the build can use, with its memory. Each build is
    asked in a child of its own; one that dies or hangs is shown with that.
    """
    import json

    from dmrc.cli.tables import print_table
    from dmrc.engines.builds.builds import Builds

    builds = Builds(app.settings.paths.engines, app.settings.llama_server)
    known = builds.all()
    answers = asyncio.run(_ask(known))
    if as_json:
        rows = zip(known, answers, strict=True)
        click.echo(json.dumps([_document(builds, build, *answer) for build, answer in rows], indent=2))
        return
    lines = [line for build, answer in zip(known, answers, strict=True) for line in _lines(builds, build, *answer)]
    print_table(("NAME", "VERSION", "DEVICE", "MEMORY", "FREE"), lines)
    _note_age(builds.in_use())


async def _ask(builds: list[Build]) -> list[tuple[str, DeviceList]]:
    """Return the version and the devices of each; they are asked side by side."""
    from dmrc.engines.llama_cpp.device_list import list_devices, of_build

    versions = asyncio.gather(*(asyncio.to_thread(_version, build) for build in builds))
    devices = asyncio.gather(*(list_devices(of_build(build)) for build in builds))
    return list(zip(await versions, await devices, strict=True))


def _note_age(build: Build) -> None:
    """Say that the build in use is not of the version that this dmrc is made for; one without a version is."""
    from dmrc.cli.progress import note
    from dmrc.engines.builds.build import XLLAMACPP, Build

    own = Build(name=XLLAMACPP).told_version()
    if build.program is None and build.version not in (None, own):
        note(f"build '{build.name}' is of xllamacpp {build.version}, and dmrc came with {own}: install it again")


def _version(build: Build) -> str:
    try:
        return build.version or build.told_version()
    except (OSError, TimeoutError):
        return "unknown"


def _lines(builds: Builds, build: Build, version: str, answer: DeviceList) -> list[list[str]]:
    """Return a line for each device, the first one with the build's name."""
    from dmrc.cli.tables import size

    name = f"{build.name} *" if builds.in_use() == build else build.name
    if not answer.devices:
        return [[name, version, answer.failure or "none; the processor", "-", "-"]]
    names = [(name, version), *[("", "")] * (len(answer.devices) - 1)]
    return [
        [*first, f"{device.name}: {device.description}", size(device.total_bytes), size(device.free_bytes)]
        for first, device in zip(names, answer.devices, strict=True)
    ]


def _document(builds: Builds, build: Build, version: str, answer: DeviceList) -> dict[str, object]:
    from dmrc.engines.builds.build import LLAMA_SERVER, XLLAMACPP

    return {
        "name": build.name,
        "in_use": builds.in_use() == build,
        "kind": XLLAMACPP if build.program is None else LLAMA_SERVER,
        "version": version,
        "path": None if (place := build.program or build.site) is None else str(place),
        "devices": [asdict(device) for device in answer.devices],
        "failure": answer.failure,
        "size_bytes": build.size_bytes(),
        "source": build.source,
        "sha256": build.sha256,
        "installed_at": build.installed_at,
    }
