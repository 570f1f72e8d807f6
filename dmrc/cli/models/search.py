"""`dmrc search`: models to pull."""

from __future__ import annotations

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option

_HEADERS = ("NAME", "DESCRIPTION", "BACKEND", "SIZE", "DOWNLOADS", "STARS", "SOURCE")
# Docker Model Runner has two further names for the first, and one for the second.
_SOURCES = {
    "hub": ("hub",),
    "dockerhub": ("hub",),
    "docker": ("hub",),
    "huggingface": ("huggingface",),
    "hf": ("huggingface",),
    "all": ("hub", "huggingface"),
}


@click.command(epilog="Example: dmrc search qwen --source huggingface -n 10")
@click.argument("term", default="")
@click.option(
    "--source",
    type=click.Choice(list(_SOURCES)),
    metavar="[all|hub|huggingface]",
    default="all",
    show_default=True,
    help="Where to look.",
)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=32, show_default=True, help="How many.")
@click.option("--hub-url", hidden=True, help="Another server for Docker Hub's API.")
@json_option
@pass_app
def search(_app: App, term: str, source: str, limit: int, hub_url: str | None, as_json: bool) -> None:
    """Find models whose name or description holds TERM, the most downloaded first; without TERM, list them."""
    import json

    from dmrc.cli.progress import note, spinner
    from dmrc.cli.tables import print_table
    from dmrc.cli.tables import size as in_words
    from dmrc.sources.search import HUB_URL
    from dmrc.sources.search import search as search_for

    with spinner("Searching"):
        found = search_for(term, limit, sources=_SOURCES[source], hub_url=hub_url or HUB_URL)
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
