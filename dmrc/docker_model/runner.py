"""Docker Model Runner's commands for its runner container, in which place here is the daemon, and for what else it has.

Source: https://docs.docker.com/reference/cli/docker/model/
"""

from __future__ import annotations

from typing import TypeVar

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option
from dmrc.docker_model.compat_flags import refused, unused

_Command = TypeVar("_Command", bound=click.Command)
_NO_TLS = "The gateway is for this machine: put a proxy of yours before it"
_BUILDS = {"none": "cpu", "auto": "auto", "cuda": "cuda", "rocm": "rocm", "vulkan": "vulkan"}
"""What Docker Model Runner calls the graphics cards, and `vulkan` beside; what `dmrc engine install` calls them."""
_NO_BUILDS = ("musa", "cann")
_GPU_HELP = (
    "Install and use the build of llama.cpp for these cards first, as dmrc engine install does; none is for the "
    "processor. [the one in use stays]"
)


def _of_install(command: _Command) -> _Command:
    """Add the flags that install, start and restart share."""
    command.params += [
        click.Option(["--port"], type=click.IntRange(0, 65535), expose_value=False, callback=_port, help="DMRC_PORT."),
        click.Option(["--backend"], type=click.Choice(["llama.cpp"]), expose_value=False, help="There is no other."),
        unused("--host", why="the gateway listens on loopback and on Docker's bridge", takes_value=True),
        click.Option(["--gpu"], type=click.Choice([*_BUILDS, *_NO_BUILDS]), callback=_gpu, help=_GPU_HELP),
        unused("--do-not-track", why="nothing is tracked"),
        unused("--debug", why="see docker model logs"),
        refused("--llama-server-version", remedy="Name a llama-server of yours: DMRC_LLAMA_SERVER"),
        refused("--proxy-cert", remedy="Set SSL_CERT_FILE"),
        *(refused(f"--tls{name}", remedy=_NO_TLS, takes_value=bool(name)) for name in ("", "-port", "-cert", "-key")),
    ]
    return command


def _gpu(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Return which build of llama.cpp is wanted; None leaves the one that is in use."""
    from dmrc.errors import InputError

    if value in _NO_BUILDS:
        raise InputError(
            f"--gpu {value}: there is no build of llama.cpp for it in xllamacpp's index",
            remedy="Install one of yours: dmrc engine install --from PATH",
        )
    return None if value is None else _BUILDS[value]


def _port(context: click.Context, _option: click.Parameter, value: int | None) -> None:
    from dmrc.errors import InputError

    app = context.find_object(App)
    if value and app is not None and value != app.settings.port:
        raise InputError(f"--port {value} is not the port of the daemon", remedy=f"Set DMRC_PORT={value}")


@_of_install
@click.command("install-runner", epilog="Example: docker model install-runner --port 12434")
@pass_app
def install_runner(app: App, gpu: str | None) -> None:
    """Start the daemon. There is no image to install: models run on this machine, in no container."""
    _install_build(app, gpu)
    _start(app)


@_of_install
@click.command("start-runner", epilog="Example: docker model start-runner")
@pass_app
def start_runner(app: App, gpu: str | None) -> None:
    """Start the daemon; every command that needs it does so by itself."""
    _install_build(app, gpu)
    _start(app)


@_of_install
@click.command("restart-runner", epilog="Example: docker model restart-runner")
@pass_app
def restart_runner(app: App, gpu: str | None) -> None:
    """Stop the daemon and the models that run, and start it again. Configurations, projects and keys stay."""
    _install_build(app, gpu)
    if app.daemon.status() is not None:
        app.daemon.stop()
    _start(app)


reinstall_runner = restart_runner


def _install_build(app: App, kind: str | None) -> None:
    """Install a build of llama.cpp and use it; where that fails, the command does, and all stays as it was."""
    from dmrc.cli.serving.engine.install import install

    if kind is not None:
        install.main([kind], standalone_mode=False, obj=app)


def _start(app: App) -> None:
    app.daemon.ensure()
    click.echo(f"The daemon runs on this machine, in no container: http://127.0.0.1:{app.settings.port}/engines/v1")


@click.command("stop-runner", epilog="Example: docker model stop-runner")
@click.option("--models", "with_models", is_flag=True, help="Remove all models too.")
@pass_app
def stop_runner(app: App, with_models: bool) -> None:
    """Stop the daemon and the models that run. It starts by itself when a command needs it."""
    from dmrc.cli.serving.stop_runner import stop_runner as command

    command.main([], standalone_mode=False, obj=app)
    if with_models:
        _remove_all(app)


uninstall_runner = click.Command(
    "uninstall-runner",
    params=[*stop_runner.params, unused("--images", why="there is no image"), unused("--backend", why="there is none")],
    callback=stop_runner.callback,
    help="Stop the daemon. There is no container to remove; dmrc plugin uninstall takes the plugin away.",
    epilog="Example: docker model uninstall-runner --models",
)


@click.command(epilog="Example: docker model purge --force")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_app
def purge(app: App, force: bool) -> None:
    """Remove all models from the store."""
    if not force:
        click.echo("WARNING! This will remove all models from the store.", err=True)
        try:
            agreed = click.confirm("Are you sure you want to continue?", err=True)
        except click.Abort:  # the end of a pipe is no answer, and Ctrl+C is no other
            agreed = False
        if not agreed:
            click.echo("Operation cancelled.")
            return
    _remove_all(app)


def _remove_all(app: App) -> None:
    from dmrc.cli.models.rm import rm

    digests = [model.digest for model in app.store.models()]
    if digests:
        rm.main(["--force", *digests], standalone_mode=False, obj=app)


@click.group(epilog="Example: docker model context ls")
def context() -> None:
    """Show the server that is asked: the daemon of this user, and no other."""


@context.command("ls", epilog="Example: docker model context ls --json")
@json_option
@pass_app
def context_ls(app: App, as_json: bool) -> None:
    """List the one context."""
    import json

    from dmrc.cli.tables import print_table

    if as_json:
        click.echo(json.dumps([_context(app)], indent=2))
    else:
        known = _context(app)
        print_table(
            ("NAME", "HOST", "DESCRIPTION", "CURRENT"), [[known["name"], known["host"], known["description"], "*"]]
        )


@context.command("inspect", epilog="Example: docker model context inspect default")
@click.argument("names", nargs=-1)
@pass_app
def context_inspect(app: App, names: tuple[str, ...]) -> None:
    """Print the one context as JSON."""
    import json

    _check_context(names)
    click.echo(json.dumps([_context(app)], indent=2))


@context.command("use", epilog="Example: docker model context use default")
@click.argument("name")
def context_use(name: str) -> None:
    """Choose the one context."""
    _check_context((name,))


def _create_or_remove(name: str) -> click.Command:
    def refuse(**_given: object) -> None:
        from dmrc.errors import InputError

        raise InputError(
            f"context {name}: dmrc asks the daemon of this machine and no other",
            remedy="A server elsewhere is a model: x-dmrc: {upstream: URL}",
        )

    arguments = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True}
    return click.Command(name, params=[arguments], callback=refuse, hidden=True, context_settings=settings)


for name in ("create", "rm"):
    context.add_command(_create_or_remove(name))


def _context(app: App) -> dict[str, str]:
    return {
        "name": "default",
        "host": f"http://127.0.0.1:{app.settings.port}",
        "description": f"the daemon of {app.settings.home}",
    }


def _check_context(names: tuple[str, ...]) -> None:
    from dmrc.errors import NotFoundError

    for name in names:
        if name != "default":
            raise NotFoundError(f"there is no context '{name}'", remedy="There is one: default")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def gateway(arguments: tuple[str, ...]) -> None:
    """Say where the gateway is: in the daemon."""
    from dmrc.errors import InputError

    del arguments
    raise InputError("the daemon is the gateway, without a file of its own", remedy="Run: docker model start-runner")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def skills(arguments: tuple[str, ...]) -> None:
    """Say what stands in place of skills: coding assistants are given a model."""
    from dmrc.errors import InputError

    del arguments
    raise InputError("dmrc brings no skills for coding assistants", remedy="Give them a model: docker model launch")
