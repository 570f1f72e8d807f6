"""The table "What the services are given", and its neighbours."""

from pathlib import Path

import pytest

from dmrc.project import Access, Injection, Project, inject

KEY = "sk-dmrc-1"
PLAIN, IN_PATH = "http://gateway:12434/engines/v1", f"http://gateway:12434/k/{KEY}/engines/v1"
ACCESS = Access(host="gateway", port=12434, key=KEY, names=("gateway", "172.17.0.1"))
PROXIES = {"NO_PROXY": "gateway,172.17.0.1", "no_proxy": "gateway,172.17.0.1"}
OPENAI = {"OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"}
MODELS = {"llm": {"model": "ai/smollm2"}, "big": {"model": "ai/smollm2", "context_size": 8192}, "e": {"model": "ai/e"}}
OWN = {"llm": {"endpoint_var": "AI_URL", "model_var": "AI_MODEL"}}
FOREIGN = "https://api.example.com/v1"


def injection(
    models: object,
    *,
    environment: dict[str, object] | None = None,
    openai: str | None = None,
    top: str | None = None,
    declared: dict[str, object] = MODELS,
) -> Injection:
    service = {"models": models, "environment": environment, "x-dmrc": {"openai": openai}}
    document = {"name": "demo", "models": declared, "services": {"app": service}, "x-dmrc": {"openai": top}}
    project = Project.parse(document, (Path("/app/compose.yaml"),))
    return inject(project, project.services["app"], ACCESS)


def variables(models: object, **more: object) -> dict[str, str]:
    return {name: value for name, value in injection(models, **more).variables.items() if name not in PROXIES}


def openai_of(models: object, **more: object) -> set[str]:
    return OPENAI & variables(models, **more).keys()


def test_the_short_syntax_gives_everything() -> None:
    assert injection(["llm"]).variables == {
        "LLM_URL": f"{IN_PATH}/",
        "LLM_MODEL": "ai/smollm2",
        "LLM_API_KEY": KEY,
        "OPENAI_BASE_URL": PLAIN,
        "OPENAI_API_KEY": KEY,
        "OPENAI_MODEL": "ai/smollm2",
        **PROXIES,
    }


def test_names_of_its_own_get_the_key_in_the_url_and_nothing_that_means_openai() -> None:
    given = injection(OWN)

    assert given.variables == {
        "AI_URL": f"{IN_PATH}/",
        "AI_MODEL": "ai/smollm2",
        "OPENAI_BASE_URL": IN_PATH,
        "OPENAI_MODEL": "ai/smollm2",
        **PROXIES,
    }
    assert given.not_set.keys() == {"OPENAI_API_KEY"}


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"llm": {"endpoint_var": "AI_URL"}}, {"AI_URL", "LLM_MODEL"}),
        ({"llm": {"model_var": "AI_MODEL"}}, {"LLM_URL", "AI_MODEL"}),
        ({"llm": {"endpoint_var": "AI_URL"}, "e": None}, {"AI_URL", "LLM_MODEL", "E_URL", "E_MODEL", "E_API_KEY"}),
    ],
    ids=["endpoint_var alone", "model_var alone", "mixed"],
)
def test_one_name_of_its_own_is_enough(declared: object, named: set[str]) -> None:
    assert variables(declared).keys() == named | {"OPENAI_BASE_URL", "OPENAI_MODEL"}


@pytest.mark.parametrize(
    "declared",
    [
        {"llm": {"endpoint_var": "OPENAI_BASE_URL", "model_var": "OPENAI_MODEL"}},
        {"llm": {"endpoint_var": "OPENAI_BASE_URL"}},
        {"llm": {"model_var": "OPENAI_MODEL"}},
        {"e": {"endpoint_var": "E_URL", "model_var": "E_MODEL"}, "llm": {"model_var": "OPENAI_MODEL"}},
    ],
)
def test_openais_own_names_get_all_three(declared: dict[str, object]) -> None:
    given = variables(declared)

    assert given.keys() >= OPENAI
    assert (given["OPENAI_BASE_URL"].rstrip("/"), given["OPENAI_API_KEY"]) == (IN_PATH, KEY)
    assert given["OPENAI_MODEL"] == "ai/smollm2"


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
@pytest.mark.parametrize("openai", ["auto", "always", "never"])
@pytest.mark.parametrize("models", [["llm"], OWN], ids=["short", "own names"])
def test_our_key_is_never_beside_the_url_of_another_server(models: object, openai: str, name: str) -> None:
    given = injection(models, environment={name: FOREIGN}, openai=openai)

    assert OPENAI.isdisjoint(given.variables)
    assert given.not_set.keys() | set(given.kept) == OPENAI
    assert all(FOREIGN not in reason for reason in given.not_set.values())


@pytest.mark.parametrize(
    "url", [PLAIN, f"{PLAIN}/", "http://GATEWAY/v1", "http://host.docker.internal:12434/v1", "http://172.17.0.1:12434"]
)
def test_a_url_that_is_ours_by_its_value_stays_and_gets_the_key(url: str) -> None:
    given = injection(["llm"], environment={"OPENAI_BASE_URL": url})

    assert given.kept == ("OPENAI_BASE_URL",)
    assert given.variables["OPENAI_API_KEY"] == KEY


@pytest.mark.parametrize(
    "url", ["https://gateway:12434/v1", "http://gateway:8080/v1", "http://gateway.example:12434", "http://[::x", "junk"]
)
def test_a_url_that_only_looks_like_ours_is_another_servers(url: str) -> None:
    assert openai_of(["llm"], environment={"OPENAI_BASE_URL": url}) == set()


@pytest.mark.parametrize("empty", ["", None], ids=["${X} of nothing", "passed through, and not set"])
def test_a_variable_without_a_value_is_filled(empty: str | None) -> None:
    given = injection(["llm"], environment=dict.fromkeys(OPENAI, empty))

    assert (given.kept, given.variables["OPENAI_BASE_URL"], given.variables["OPENAI_API_KEY"]) == ((), PLAIN, KEY)


def test_beside_an_api_key_of_its_own_the_url_holds_ours() -> None:
    given = injection(["llm"], environment={"OPENAI_API_KEY": "not-needed"})

    assert given.kept == ("OPENAI_API_KEY",)
    assert given.variables["OPENAI_BASE_URL"] == IN_PATH


def test_who_names_its_own_variables_and_has_a_key_for_openai_asks_openai() -> None:
    given = injection(OWN, environment={"OPENAI_API_KEY": "sk-of-openai"})

    assert OPENAI.isdisjoint(given.variables)
    assert (given.kept, set(given.not_set)) == (("OPENAI_API_KEY",), {"OPENAI_BASE_URL", "OPENAI_MODEL"})


@pytest.mark.parametrize(
    ("models", "top", "own", "expected"),
    [
        (OWN, "always", None, OPENAI),
        (OWN, None, "always", OPENAI),
        (["llm"], "never", None, set()),
        (["llm"], "never", "auto", OPENAI),
        (["llm"], "always", "never", set()),
        (["llm"], None, None, OPENAI),
    ],
)
def test_the_file_may_say_which(models: object, top: str | None, own: str | None, expected: set[str]) -> None:
    assert openai_of(models, top=top, openai=own) == expected


def test_what_compose_sets_stays_whatever_the_file_says_of_openai() -> None:
    declared = {"llm": {"endpoint_var": "OPENAI_BASE_URL"}}

    assert variables(declared, openai="never") == {"OPENAI_BASE_URL": f"{IN_PATH}/", "LLM_MODEL": "ai/smollm2"}
    assert variables(declared, environment={"OPENAI_BASE_URL": FOREIGN})["OPENAI_BASE_URL"] == f"{IN_PATH}/"


def test_a_model_whose_key_is_openai_brings_no_key_where_none_is_wanted() -> None:
    given = variables(["openai"], declared={"openai": {"model": "ai/x"}}, environment={"OPENAI_BASE_URL": FOREIGN})

    assert given == {"OPENAI_URL": f"{IN_PATH}/", "OPENAI_MODEL": "ai/x"}


def test_a_dash_in_a_key_becomes_an_underscore_and_a_dot_stays() -> None:
    declared = {"my-llm.v2": {"model": "ai/smollm2"}}

    assert {"MY_LLM.V2_URL", "MY_LLM.V2_MODEL"} <= variables(["my-llm.v2"], declared=declared).keys()


def test_a_variable_of_the_user_is_kept_and_named() -> None:
    given = injection(["llm"], environment={"OPENAI_MODEL": "mine", "OTHER": "x"})

    assert "OPENAI_MODEL" not in given.variables
    assert given.kept == ("OPENAI_MODEL",)


def test_compose_overwrites_its_own_variables_as_it_does_itself() -> None:
    assert variables(["llm"], environment={"LLM_MODEL": "mine"})["LLM_MODEL"] == "ai/smollm2"


def test_openai_model_is_the_first_declared_or_the_one_chosen() -> None:
    assert variables(["e", "llm"])["OPENAI_MODEL"] == "ai/e"
    service = {"models": ["e", "llm"], "x-dmrc": {"default_model": "llm"}}
    project = Project.parse({"name": "demo", "models": MODELS, "services": {"app": service}}, ())
    assert inject(project, project.services["app"], ACCESS).variables["OPENAI_MODEL"] == "ai/smollm2"


def test_of_two_entries_with_one_reference_the_second_is_asked_for_by_its_key() -> None:
    first, other = variables(["llm", "big"]), variables(["big", "llm"])

    assert (first["LLM_MODEL"], first["BIG_MODEL"], first["OPENAI_MODEL"]) == ("ai/smollm2", "big", "ai/smollm2")
    assert (other["BIG_MODEL"], other["LLM_MODEL"]) == ("ai/smollm2", "llm")


@pytest.mark.parametrize(
    ("environment", "before", "expected"),
    [
        ({}, {}, ("gateway,172.17.0.1",) * 2),
        ({"NO_PROXY": "a,.b"}, {}, ("a,.b,gateway,172.17.0.1",) * 2),
        ({"no_proxy": "a, b,"}, {}, ("a, b,gateway,172.17.0.1",) * 2),
        ({"NO_PROXY": "a", "no_proxy": "b"}, {}, ("a,gateway,172.17.0.1", "b,gateway,172.17.0.1")),
        ({"NO_PROXY": None}, {"NO_PROXY": "d", "no_proxy": "d"}, ("d,gateway,172.17.0.1",) * 2),
        ({"NO_PROXY": "a"}, {"NO_PROXY": "d", "no_proxy": "d"}, ("a,gateway,172.17.0.1", "d,gateway,172.17.0.1")),
        ({"NO_PROXY": "172.17.0.1 gateway"}, {}, ("172.17.0.1 gateway",) * 2),
        ({"NO_PROXY": "*"}, {}, ("*",) * 2),
    ],
)
def test_the_gateway_is_past_every_proxy(
    environment: dict[str, str | None], before: dict[str, str], expected: tuple[str, str]
) -> None:
    access = Access(host="gateway", port=1, key=KEY, names=("gateway", "172.17.0.1"), no_proxy_before=before)

    assert access.no_proxy(environment) == dict(zip(("NO_PROXY", "no_proxy"), expected, strict=True))


def test_who_is_known_by_its_address_is_led_past_the_proxy_alone() -> None:
    project = Project.parse({"name": "demo", "services": {"app": {}}, "x-dmrc": {"auth": "address"}}, ())

    assert inject(project, project.services["app"], ACCESS).variables == PROXIES


def test_a_variable_of_the_project_in_whose_place_models_puts_its_own_is_named() -> None:
    """Compose replaces it without a word."""
    given = injection(OWN, environment={"AI_URL": FOREIGN, "AI_MODEL": "ai/smollm2"})

    assert given.replaced == ("AI_URL",)
    assert given.variables["AI_URL"] == f"{IN_PATH}/"
