from pathlib import Path

from dmrc.project import Injection, Project, Service
from tests.hooks.written import PROJECT, loaded

ADDS = """
@hookimpl
def dmrc_service_environment(project, service, environment):
    return {"WHO": f"{environment.get('WHO', '')}one", "SERVICE": f"{project.name}/{service.name}"}
"""
ADDS_MORE = """
@hookimpl
def dmrc_service_environment(environment):
    return {"WHO": environment["WHO"] + "two", "MINE": "plugin's"}
"""
RAISES = """
@hookimpl
def dmrc_service_environment(environment):
    environment["WHO"] = "nobody"
    raise ValueError("no")
"""
NO_TEXTS = """
@hookimpl
def dmrc_service_environment(environment):
    return {"WHO": 7}
"""
SERVICE = Service("web", environment={"MINE": "user's"})


def extended(tmp_path: Path, *sources: str) -> Injection:
    plugins = loaded(tmp_path, *sources)
    injection = Injection({"OPENAI_MODEL": "m"}, ())
    project = Project(PROJECT, tmp_path, (), {}, {"web": SERVICE})
    for plugin, more in plugins.service_environment(project, SERVICE, injection.variables):
        injection = injection.extended(SERVICE, more, plugin.name)
    return injection


def test_each_plugin_gets_what_the_one_before_added_and_the_last_loaded_has_the_last_word(tmp_path: Path) -> None:
    injection = extended(tmp_path, ADDS, ADDS_MORE)

    assert injection.variables == {"OPENAI_MODEL": "m", "WHO": "onetwo", "SERVICE": "shop/web"}
    assert injection.added_by == {"WHO": "two", "SERVICE": "one"}


def test_what_the_user_wrote_stays(tmp_path: Path) -> None:
    assert extended(tmp_path, ADDS, ADDS_MORE).kept == ("MINE",)


def test_one_that_fails_or_returns_no_texts_changes_nothing(tmp_path: Path) -> None:
    injection = extended(tmp_path, RAISES, NO_TEXTS, ADDS)

    assert injection.variables["WHO"] == "one"
    assert set(injection.added_by.values()) == {"three"}
