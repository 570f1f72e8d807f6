"""`dmrc search`: models to pull."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dmrc.sources import Searchable

_HEADERS = ("NAME", "DESCRIPTION", "BACKEND", "SIZE", "DOWNLOADS", "STARS", "SOURCE")
_ALL = "all"
_OTHER_NAMES = {"dockerhub": "hub", "docker": "hub", "hf": "huggingface"}
"""Those of Docker Model Runner."""


class _Catalog(click.ParamType[str]):
    """The name of a catalog: of a source that can be searched."""

    name = "catalog"

    def convert(self, value: str, param: click.Parameter | None, context: click.Context | None) -> str:
        name: str = self._choice(context).convert(value, param, context)
        return _OTHER_NAMES.get(name, name)

    def shell_complete(self, context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return self._choice(context).shell_complete(context, param, incomplete)

    def _choice(self, context: click.Context | None) -> click.Choice[str]:
        app = context.find_object(App) if context is not None else None
        known = [] if app is None else sorted(_catalogs(app))
        others = [name for name, meant in _OTHER_NAMES.items() if meant in known]
        return click.Choice([*known, *others, _ALL])


def _catalogs(app: App) -> dict[str, Searchable]:
    from dmrc.sources.search import catalogs

    return catalogs(app.sources())


@click.command(epilog="Example: dmrc search qwen --source huggingface -n 10")
@click.argument("term", default="")
@click.option(
    "--source",
    type=_Catalog(),
    metavar="[all|hub|huggingface]",
    default=_ALL,
    show_default=True,
    help="Where to look.",
)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=32, show_default=True, help="How many.")
@click.option("--hub-url", hidden=True, help="Another server for Docker Hub's API.")
@json_option
@pass_app
def search(app: App, term: str, source: str, limit: int, hub_url: str | None, as_json: bool) -> None:
    """Find models whose name or description holds TERM, the most downloaded first; without TERM, list them."""
    import json

    from dmrc.cli.progress import note, spinner
    from dmrc.cli.tables import print_table
    from dmrc.cli.tables import size as in_words
    from dmrc.sources.docker_hub import search_hub
    from dmrc.sources.search import search as search_for

    asked = [one for name, one in _catalogs(app).items() if source in (name, _ALL)]
    finders = {one.catalog_title: one.finder() for one in asked}
    if hub_url is not None and source in ("hub", _ALL):
        finders["Docker Hub"] = partial(search_hub, hub_url=hub_url)
    with spinner("Searching"):
        found = search_for(term, limit, finders)
    if not found:
        note(f"no models found matching '{term}'" if term else "no models found")
    if as_json:
        click.echo(json.dumps([result.to_json() for result in found], indent=2, ensure_ascii=False))
    elif found:
        rows = [
            (
                result.name,
                result.description,
                "llama.cpp",
                in_words(result.size_bytes or None),
                _rounded(result.downloads),
                _rounded(result.stars),
                result.source,
            )
            for result in found
        ]
        print_table(_HEADERS, rows)


def _rounded(count: int) -> str:
    """Return a count as Docker Model Runner prints it: `1.2M`, `45.3K`."""
    for unit, size in (("M", 1_000_000), ("K", 1_000)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
