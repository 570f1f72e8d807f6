"""`dmrc key revoke`: the end of a key."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from dmrc.cli.app import App, pass_app


class _KeyName(click.ParamType[str]):
    """The name of a key, which the shell can complete while the daemon runs."""

    name = "name"

    def shell_complete(self, context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so."""
        from dmrc.cli.serving.key.list import known_keys
        from dmrc.errors import DaemonError

        try:
            names = [str(key["name"]) for key in known_keys(context.ensure_object(App))]
        except DaemonError:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command(epilog="Example: dmrc key revoke notebook")
@click.argument("name", type=_KeyName())
@pass_app
def revoke(app: App, name: str) -> None:
    """End a key at once. The next request that brings it is refused with 401."""
    from urllib.parse import quote

    from dmrc.cli.progress import note

    app.daemon.ensure()
    app.daemon.request("DELETE", f"/keys/{quote(name, safe='')}")
    note(f"key '{name}' is revoked")
