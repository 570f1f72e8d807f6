"""One reading of the environment's proxies. The real thing goes through one in tests/sources/test_proxy.py."""

import pytest

from dmrc.errors import SettingError
from dmrc.proxies import proxy_for

_PROXY = {"HTTPS_PROXY": "http://proxy.test:3128"}


@pytest.mark.parametrize(
    ("value", "url", "headers"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128", {}),
        ("https://proxy.test:3128/", "https://proxy.test:3128", {}),
        ("proxy.test:3128", "http://proxy.test:3128", {}),
        ("127.0.0.1:3128", "http://127.0.0.1:3128", {}),
        ("//proxy.test:3128", "http://proxy.test:3128", {}),
        (" http://proxy.test ", "http://proxy.test:80", {}),
        ("https://proxy.test", "https://proxy.test:443", {}),
        ("HTTP://[fd00::1]:8", "http://[fd00::1]:8", {}),
        ("http://user:p%40ss@proxy.test:1", "http://proxy.test:1", {"Proxy-Authorization": "Basic dXNlcjpwQHNz"}),
        ("user:p@ss@proxy.test:1", "http://proxy.test:1", {"Proxy-Authorization": "Basic dXNlcjpwQHNz"}),
        ("http://user@proxy.test:1", "http://proxy.test:1", {"Proxy-Authorization": "Basic dXNlcjo="}),
    ],
)
def test_a_proxy_is_read_as_other_programs_read_it(value: str, url: str, headers: dict[str, str]) -> None:
    proxy = proxy_for("https://registry.test/v2/", {"HTTPS_PROXY": value})

    assert proxy is not None
    assert (proxy.url, proxy.headers) == (url, headers)
    assert "p@ss" not in repr(proxy)


@pytest.mark.parametrize(
    ("environment", "url", "variable"),
    [
        ({"HTTPS_PROXY": "a:1"}, "https://x.test", "HTTPS_PROXY"),
        ({"https_proxy": "a:1"}, "https://x.test", "https_proxy"),
        ({"HTTP_PROXY": "a:1"}, "http://x.test", "HTTP_PROXY"),
        ({"http_proxy": "a:1"}, "http://x.test", "http_proxy"),
        ({"ALL_PROXY": "a:1"}, "http://x.test", "ALL_PROXY"),
        ({"all_proxy": "a:1"}, "https://x.test", "all_proxy"),
        ({"ALL_PROXY": "a:1", "https_proxy": "b:1"}, "https://x.test", "https_proxy"),
        ({"HTTPS_PROXY": "", "https_proxy": "b:1"}, "https://x.test", "https_proxy"),
        ({"HTTP_PROXY": "a:1"}, "https://x.test", None),
        ({"HTTPS_PROXY": "a:1"}, "http://x.test", None),
        ({}, "https://x.test", None),
    ],
)
def test_the_variable_is_that_of_the_scheme_then_that_of_all(
    environment: dict[str, str], url: str, variable: str | None
) -> None:
    proxy = proxy_for(url, environment)

    assert (proxy.variable if proxy else None) == variable


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://user:p@ss@proxy.test:1080", "HTTPS_PROXY names a socks5 proxy, 'proxy.test:1080'"),
        ("socks5h://proxy.test", "a socks5h proxy"),
        ("http://user:p@ss@127.0.0.1:99999", "HTTPS_PROXY must be the address of a proxy, not '127.0.0.1:99999'"),
        ("http://proxy.test:0", "must be the address of a proxy"),
        ("http://proxy.test:port", "must be the address of a proxy"),
        ("http://", "must be the address of a proxy"),
        ("//:80", "must be the address of a proxy"),
        ("some garbage", "must be the address of a proxy"),
    ],
)
def test_what_is_no_proxy_is_one_line_without_its_password(value: str, words: str) -> None:
    with pytest.raises(SettingError) as error:
        proxy_for("https://registry.test", {"HTTPS_PROXY": value})

    assert words in str(error.value)
    assert "p@ss" not in str(error.value)


@pytest.mark.parametrize(
    ("listed", "host", "is_direct"),
    [
        ("*", "registry.test", True),
        ("registry.test", "registry.test", True),
        ("REGISTRY.test", "Registry.TEST", True),
        ("registry.test.", "registry.test", True),
        ("corp.test", "a.corp.test", True),
        ("corp.test", "acorp.test", False),
        (".corp.test", "a.b.corp.test", True),
        (".corp.test", "corp.test", False),
        ("*.corp.test", "a.corp.test", True),
        ("*.corp.test", "acorp.test", False),
        ("registry.test:443", "registry.test", True),
        ("registry.test:5000", "registry.test:5000", True),
        ("registry.test:5000", "registry.test", False),
        (".corp.test:443", "a.corp.test", True),
        ("172.17.0.0/16", "172.17.0.1:5999", True),
        ("172.17.0.0/16", "172.18.0.1", False),
        ("172.17.0.0/16", "registry.test", False),
        ("172.17.0.1", "172.17.0.1", True),
        ("172.17.0.1:5999", "172.17.0.1:5999", True),
        ("172.17.0.1:5999", "172.17.0.1", False),
        ("17.0.1", "172.17.0.1", False),
        (".0.1", "172.17.0.1", False),
        ("fd00::/8", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]:8080", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("[fd00::1]:443", "[fd00::1]", True),
        ("[fd00::1]:80", "[fd00::1]", False),
        ("172.17.0.1", "[::ffff:172.17.0.1]", True),
        ("*.test.example.com,.example.org,127.0.0.0/8", "x.example.org", True),
        (" a.test , registry.test ,, b.test", "registry.test", True),
        ("a.test registry.test", "registry.test", True),
        ("not/a/network", "registry.test", False),
        ("", "registry.test", False),
    ],
)
def test_no_proxy_is_read_as_docker_documents_it(listed: str, host: str, is_direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (proxy_for(f"https://{host}/v2/", {**_PROXY, name: listed}) is None) == is_direct


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "localhost.", "127.0.0.1", "127.9.9.9:12434", "[::1]"])
def test_this_machine_is_never_asked_through_a_proxy(host: str) -> None:
    assert proxy_for(f"https://{host}/v1", _PROXY) is None
