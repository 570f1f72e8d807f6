from dataclasses import asdict

import pytest

from dmrc.errors import ProjectError
from dmrc.project import Fault, FaultPlan, Project
from dmrc.projects import Registration

WRITTEN = {
    "seed": 7,
    "rate_limit": {"share": 0.2, "retry_after": 2},
    "slow_first_token": {"share": 0.1, "seconds": 8},
    "cut": {"share": 0.1, "after": 12},
    "malformed_tool_arguments": 0.3,
    "error": {"first": 2, "status": 503},
    "missing_model": 0.05,
}


def plan(**written: object) -> FaultPlan:
    read = FaultPlan.parse(written, "x-dmrc.faults")
    assert read is not None
    return read


def sequence(which: FaultPlan, service: str = "api", length: int = 1000) -> list[str | None]:
    return [fault.kind if (fault := which.fault_of(service, number)) else None for number in range(1, length + 1)]


def test_every_fault_is_read_with_its_setting() -> None:
    read = plan(**WRITTEN)

    assert read.seed == 7
    assert str(read) == (
        "rate_limit 20 %, retry_after 2; error the first 2, status 503; missing_model 5 %; "
        "slow_first_token 10 %, seconds 8; cut 10 %, after 12; malformed_tool_arguments 30 %; seed 7"
    )
    assert FaultPlan.from_json(asdict(read)) == read


def test_the_same_seed_is_the_same_sequence_and_another_one_is_not() -> None:
    assert sequence(plan(**WRITTEN)) == sequence(plan(**WRITTEN))
    assert sequence(plan(**WRITTEN)) != sequence(plan(**{**WRITTEN, "seed": 8}))
    assert sequence(plan(**WRITTEN)) != sequence(plan(**WRITTEN), "web")


def test_the_sequence_is_the_same_in_every_process_and_version() -> None:
    """Whoever has a seed in a file finds the same requests failing next year."""
    assert sequence(plan(seed=7, error=0.3, cut=0.3), length=8) == [
        "error",
        "error",
        None,
        None,
        None,
        "cut",
        None,
        "error",
    ]


def test_shares_are_met_by_about_as_many_requests() -> None:
    drawn = sequence(plan(**WRITTEN), length=4000)

    for kind, share in {"rate_limit": 0.2, "cut": 0.1, "malformed_tool_arguments": 0.3, "missing_model": 0.05}.items():
        assert abs(drawn.count(kind) / 4000 - share) < 0.02


def test_a_share_of_1_is_every_request_also_as_a_sum() -> None:
    assert set(sequence(plan(error=1))) == {"error"}
    assert None not in sequence(plan(rate_limit=0.1, error=0.2, missing_model=0.3, cut=0.4))


def test_first_ones_come_one_kind_after_the_other_and_then_no_more() -> None:
    read = plan(rate_limit={"first": 2}, cut={"first": 1})

    assert sequence(read, length=5) == ["rate_limit", "rate_limit", "cut", None, None]


def test_a_plan_of_nothing_is_off_and_not_said_is_none() -> None:
    assert FaultPlan.parse(False, "x") == FaultPlan.parse("off", "x") == FaultPlan()
    assert FaultPlan.parse(None, "x") is None


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"ratelimit": 1}, "f has no field 'ratelimit' (did you mean 'rate_limit'?)"),
        ({"cut": {"afer": 1}}, "f.cut has no field 'afer' (did you mean 'after'?)"),
        ({"cut": {"after": 0}}, "f.cut.after must be a whole number from 1 to 1000000, not 0"),
        ({"cut": 2}, "f.cut must be a number above 0 and up to 1, not 2"),
        ({"cut": True}, "f.cut must be a number above 0 and up to 1, not True"),
        ({"error": {"status": 404}}, "f.error.status must be a whole number from 500 to 599, not 404"),
        ({"error": {"share": 0.5, "first": 2}}, "f.error has a share and a first. Write one of them"),
        ({"error": {"first": 0}}, "f.error.first must be a whole number above 0, not 0"),
        ({"error": 0.6, "cut": 0.5}, "the shares in f are 1.1 together, and can be 1 at most"),
        ({"seed": "x", "cut": 1}, "f.seed must be a whole number, not 'x'"),
        ({"seed": 7}, "f names no fault. There are: rate_limit, error, missing_model"),
        ([1], "f must be a mapping, not [1]"),
    ],
)
def test_a_mistake_is_named_with_its_place(said: object, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        FaultPlan.parse(said, "f")

    assert str(caught.value).startswith(message)


def project(services: object, **options: object) -> Project:
    models = {"llm": {"model": "ai/x"}}
    return Project.parse({"name": "shop", "services": services, "models": models, "x-dmrc": options}, ())


def test_a_services_own_plan_comes_before_the_projects_and_what_was_set_before_both() -> None:
    services = {
        "api": {"models": ["llm"], "x-dmrc": {"faults": {"cut": 1}}},
        "web": {"models": ["llm"]},
        "calm": {"models": ["llm"], "x-dmrc": {"faults": "off"}},
    }
    known = Registration.of(project(services, faults={"error": 0.5}), dict.fromkeys(services, "k"), None)
    slow = FaultPlan(faults=(Fault(kind="slow_first_token"),))

    assert {name: str(known.fault_plan(name)) for name in (*services, None)} == {
        "api": "cut always, after 5",
        "web": "error 50 %, status 500; seed 0",
        "calm": "None",
        None: "error 50 %, status 500; seed 0",
    }
    again = Registration.of(project(services), dict.fromkeys(services, "k"), None)
    before = Registration.from_json(Registration(name="shop", directory="/", faults_set={"web": slow}).to_json())
    assert again.keeping(before).fault_plan("web") == slow


def test_mistakes_of_all_services_are_told_at_once() -> None:
    with pytest.raises(ProjectError) as caught:
        project({"api": {"models": ["llm"], "x-dmrc": {"faults": {"cut": 2}}}}, faults={"eror": 1})

    assert "services.api.x-dmrc.faults.cut must be" in str(caught.value)
    assert "x-dmrc.faults has no field 'eror' (did you mean 'error'?)" in str(caught.value)
