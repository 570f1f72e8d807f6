"""The HTTP client of huggingface_hub, which goes through the proxy that `proxies` reads in the environment.

By itself it would read the same variables in another way: without networks in `NO_PROXY`, and with a traceback for a
proxy that is none.
"""

from __future__ import annotations

import importlib
import logging
import os
from functools import cache
from typing import TYPE_CHECKING

from dmrc.proxies import Proxy, proxy_for

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def api() -> HfApi:
    """Return huggingface_hub's API of the place that `HF_ENDPOINT` names.

    Raises:
        SettingError: The environment names a proxy that is none.
    """
    import huggingface_hub

    made = huggingface_hub.HfApi()
    # Else it prints each of its attempts. What it imports for its API sets the level, so this comes after.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if any(name.lower().endswith("_proxy") for name in os.environ):
        _go_through(proxy_for(made.endpoint))
    return made


def way_to(endpoint: str) -> str:
    """Return ` through proxy 'proxy.example:3128'` where that is the way to a URL, else nothing."""
    proxy = proxy_for(endpoint)
    return "" if proxy is None else f" through proxy '{proxy.address}'"


@cache  # the library has one client for the process, and an exchange would break off what other threads do with it
def _go_through(proxy: Proxy | None) -> None:
    """Make the library use a client that knows this proxy, or none, whatever the environment says.

    Its HTTP library is another one from version to version, with the same names.
    """
    import huggingface_hub

    before = huggingface_hub.get_session()
    library = importlib.import_module(type(before).__module__.partition(".")[0])
    login = None if proxy is None or proxy.user is None else (proxy.user, proxy.password)
    way = None if proxy is None else library.Proxy(proxy.url, auth=login)
    hooks = before.event_hooks
    huggingface_hub.set_client_factory(
        lambda: type(before)(
            transport=library.HTTPTransport(proxy=way), event_hooks=hooks, follow_redirects=True, timeout=None
        )
    )
