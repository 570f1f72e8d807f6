"""`dmrc rm`: models out of the store."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name


@click.command(epilog="Example: dmrc rm ai/smollm2:135M-Q4_K_M")
@click.argument("references", nargs=-1, required=True, type=model_name, metavar="MODEL...")
@click.option("-f", "--force", is_flag=True, help="Also when it runs, or when an ID has several tags.")
@json_option
@pass_app
def rm(app: App, references: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove models from the store: the tag named, and the files when no tag is left.

    A model that runs stays, unless --force ends its runner. After one that cannot be removed the others still are.
    """
    remove_models(app, references, force=force, even_running=force, as_json=as_json)


def remove_models(app: App, references: tuple[str, ...], *, force: bool, even_running: bool, as_json: bool) -> None:
    """Remove these models, and print what was removed; after one that cannot be removed the others still are.

    `force` is for an ID with several tags, `even_running` for a model that is loaded: an idle runner ends first, and
    one in use finishes its requests, from the files that it has open.

    Raises:
        DmrcError: The last of those that cannot be removed.
    """
    import json

    from dmrc.cli.progress import note
    from dmrc.errors import DmrcError

    done: list[dict[str, str]] = []
    failures: list[DmrcError] = []
    for reference in references:
        try:
            rows = _remove(app, reference, force=force, even_running=even_running)
        except DmrcError as error:
            failures.append(error)
            continue
        done += rows
        for action, name in (pair for row in rows if not as_json for pair in row.items()):
            click.echo(f"{action}: {name}")
    if as_json:
        click.echo(json.dumps(done, indent=2))
    for failure in failures[:-1]:
        note(f"dmrc: {failure}")
    if failures:
        raise failures[-1]


def _remove(app: App, reference: str, *, force: bool, even_running: bool) -> list[dict[str, str]]:
    """Remove one model, or one tag of it; the rows are Docker Model Runner's."""
    known = app.settings.default_registry
    if not app.store.knows(reference, known):
        app.present(reference)
    for digest in app.store.plan_removal(reference, force=force, default_registry=known).deleted:
        _end_runners(app, reference, digest, allowed=even_running)
    removed = app.store.remove(reference, force=force, default_registry=known)
    return [*({"Untagged": tag} for tag in removed.untagged), *({"Deleted": digest} for digest in removed.deleted)]


def _end_runners(app: App, reference: str, digest: str, *, allowed: bool) -> None:
    """Unload the model where that is allowed; of one that does not run any more, prompts may be kept yet.

    Raises:
        ConflictError: It runs, and may not be unloaded.
    """
    import json

    from dmrc.errors import ConflictError

    running = [runner for runner in app.daemon.runners() if runner["digest"] == digest]
    if running and not allowed:
        runner = running[0]
        raise ConflictError(
            f"model '{reference}' is in use by runner {runner['id']} ({runner['engine']}, {runner['state']})",
            remedy=f"Run: dmrc unload {reference}, or use --force",
        )
    if app.daemon.status() is not None:
        app.daemon.request("POST", "/unload", json.dumps({"models": [digest], "wait": False}))
