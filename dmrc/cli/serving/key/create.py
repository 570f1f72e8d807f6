"""`dmrc key create`: one more key."""

from __future__ import annotations

import re

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@click.command(epilog="Example: export OPENAI_API_KEY=$(dmrc key create --name notebook --model ai/smollm2)")
@click.option("--name", required=True, help="What to call it; dmrc requests --service NAME shows what it asked.")
@click.option("--model", "models", multiple=True, type=model_name, help="A model that it opens; may be repeated. [all]")
@json_option
@pass_app
def create(app: App, name: str, models: tuple[str, ...], as_json: bool) -> None:
    """Create a key, and print it once: only its SHA-256 is kept. It is valid until it is revoked.

    Without --model it opens all models of the store, those that are pulled later too.
    """
    import json
    import secrets

    from dmrc.cli.progress import note
    from dmrc.cli.serving.key.opening import network_base_url, open_key
    from dmrc.errors import InputError
    from dmrc.project import KEY_PREFIX

    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"a key cannot be called '{name}'", remedy="Use up to 64 letters, digits, dots, dashes and underscores"
        )
    for model in models:
        app.present(model)
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    containers = open_key(app, name, key, models)
    network = network_base_url(app)
    here = f"http://127.0.0.1:{app.settings.port}/engines/v1"
    if as_json:
        document = {"name": name, "key": key, "models": list(models), "base_url": here}
        click.echo(json.dumps({**document, "container_base_url": containers, "network_base_url": network}, indent=2))
        return
    click.echo(key)
    note(f"key '{name}' opens {', '.join(models) or 'all models of the store'}. It is not shown again.")
    note("OPENAI_API_KEY is the key, and OPENAI_BASE_URL is")
    note(f"  on this machine: {here}")
    if containers:
        note(f"  in a container:  {containers}")
    if network:
        note(f"  elsewhere:       {network}")
