"""`dmrc faults set`: which requests of a service fail from now on."""

from __future__ import annotations

import re

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.projects.faults.running import FaultWords, ServiceName, running_options

_WHERE = "the plan"


@click.command(
    "set",
    short_help="Let requests of a service fail.",
    epilog="Example: dmrc faults set api rate_limit,first=2,retry_after=1",
)
@running_options
@click.option("--seed", type=int, default=0, show_default=True, help="Another one is another sequence of faults.")
@click.option("--all", "everybody", is_flag=True, help="For all services of the project: name none then.")
@click.argument("service", required=False, type=ServiceName())
@click.argument("faults", nargs=-1, type=FaultWords(), metavar="FAULT[=SHARE][,NAME=VALUE]...")
@pass_app
def set_(
    app: App,
    files: tuple[str, ...],
    project_name: str | None,
    seed: int,
    everybody: bool,
    service: str | None,
    faults: tuple[str, ...],
) -> None:
    """Let requests of SERVICE fail on purpose, from the next one on, in place of what held for it before.

    Faults are rate_limit (retry_after, in seconds), error (status), missing_model, slow_first_token (seconds), cut
    (after, in pieces of the answer) and malformed_tool_arguments. SHARE is that of all requests; without it, or with 1,
    every one. first=N in its place: the next N requests, and no other.
    """
    import json
    from dataclasses import asdict
    from urllib.parse import quote

    from dmrc.cli.progress import note
    from dmrc.cli.projects.faults.running import running_project
    from dmrc.project import FaultPlan

    words = (service, *faults) if everybody and service else faults
    _check_words(service, words, everybody=everybody)
    plan = FaultPlan.parse({**read_words(words), "seed": seed}, _WHERE)
    assert plan is not None  # noqa: S101 it parsed a mapping
    project = running_project(app, files, project_name)
    whom = None if everybody else service
    body = json.dumps({"service": whom, "plan": asdict(plan)})
    app.daemon.request("PUT", f"/projects/{quote(project, safe='')}/faults", body)
    end = f"dmrc faults clear -p {project}{f' {whom}' if whom else ''}"
    note(f"{project}/{whom or '*'}: {plan}. They end with dmrc down, or: {end}")


def _check_words(service: str | None, words: tuple[str, ...], *, everybody: bool) -> None:
    """Refuse a command that names no service, or no fault.

    Raises:
        InputError: It does.
    """
    from dmrc.errors import InputError
    from dmrc.project import FAULT_KINDS

    kind = re.split("[=,]", service or "", maxsplit=1)[0]
    if not everybody and (service is None or kind in FAULT_KINDS):
        fault = service or "rate_limit"
        raise InputError("no service is named", remedy=f"Write dmrc faults set SERVICE {fault}, or --all for all")
    if not words:
        raise InputError("no fault is named", remedy=f"There are: {', '.join(FAULT_KINDS)}")


def read_words(words: tuple[str, ...]) -> dict[str, object]:
    """Return what stands under `faults` in a compose file for `rate_limit=0.2,retry_after=2`.

    Raises:
        ProjectError: A word has another form, or names its fault or its setting twice.
    """
    from dmrc.errors import ProjectError

    plan: dict[str, object] = {}
    for word in words:
        head, *settings = word.split(",")
        kind, equals, share = head.partition("=")
        fields: dict[str, object] = {"share": _number(share)} if equals else {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals or name in fields:
                raise ProjectError(f"'{word}' has '{setting}'", remedy="Write NAME=VALUE, each name once")
            fields[name] = _number(value)
        if kind == "seed":
            raise ProjectError("a seed is no fault", remedy=f"Write --seed {share or 'NUMBER'}")
        if kind in plan:
            raise ProjectError(f"fault {kind} is there twice", remedy="Write it once")
        plan[kind] = fields
    return plan


def _number(text: str) -> object:
    """Return a number; what is none stays a text, and is refused with its place."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
