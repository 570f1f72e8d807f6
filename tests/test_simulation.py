"""The simulation of `make bench ARGS=scale` in cases that can be computed by hand."""

import itertools
import math
import operator
import random
from contextlib import closing

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.exchange import id_at
from tests.bench import scale
from tests.bench._simulation import Arrival, Fleet, Speed, percentile, simulate
from tests.bench._traffic import Asked, Model, busiest, learned, read, scaled
from tests.bench._traffic import arrivals as arrivals_of
from tests.capture.recorded import recorded
from tests.engines.installed_toy import install_toy

ALONE = Speed(alone=1.0, each=0.0)
"""A second for each token, whatever else runs."""


def arrivals(times, tokens=1.0):
    return [Arrival(at, tokens) for at in times]


def poisson(rate, count, tokens=1.0, seed=1):
    chance, now, found = random.Random(seed), 0.0, []
    for _ in range(count):
        now += chance.expovariate(rate)
        found.append(Arrival(now, tokens))
    return found


def mean(values):
    return sum(values) / len(values)


def test_without_load_nobody_waits_and_each_takes_what_it_takes_alone():
    outcome = simulate(arrivals([0, 10, 20], tokens=3), Speed(alone=0.5, each=0.5), Fleet(slots=4))

    assert outcome.waits == [0, 0, 0]
    assert outcome.totals == pytest.approx([3, 3, 3])
    assert (outcome.end, outcome.busy_seconds, outcome.replica_seconds) == pytest.approx((23, 9, 23))


def test_nothing_is_nothing():
    outcome = simulate([], ALONE, Fleet(least=2, most=5))

    assert (outcome.waits, outcome.end, outcome.replica_seconds, outcome.most) == ([], 0, 0, 2)
    assert percentile([], 0.95) == 0


def test_a_queue_is_served_in_order():
    outcome = simulate([Arrival(0, 4), Arrival(1, 1), Arrival(2, 1)], ALONE, Fleet())

    assert outcome.waits == [0, 3, 3]
    assert outcome.totals == [4, 4, 4]


def test_two_on_one_replica_slow_each_other_down():
    """The first runs alone for 2 s (2 of its 4 tokens), then both at half the pace: 4 s for 2 tokens of each."""
    outcome = simulate([Arrival(0, 4), Arrival(2, 2)], Speed(alone=0, each=1), Fleet(slots=2))

    assert outcome.waits == [0, 0]
    assert outcome.totals == pytest.approx([6, 4])


def test_the_least_busy_replica_gets_the_next_one():
    outcome = simulate(arrivals([0, 0, 0], tokens=6), Speed(alone=0, each=1), Fleet(least=2, slots=2))

    assert sorted(outcome.totals) == pytest.approx([6, 12, 12])


@pytest.mark.parametrize("busy", [0.3, 0.5, 0.8])
def test_one_server_with_equal_requests_waits_as_m_d_1_does(busy):
    """Mean wait of M/D/1: rho * S / (2 * (1 - rho)). Source: Pollaczek and Khinchine."""
    outcome = simulate(poisson(rate=busy, count=60_000), ALONE, Fleet())

    assert mean(outcome.waits) == pytest.approx(busy / (2 * (1 - busy)), rel=0.06)
    assert outcome.busy_seconds / outcome.end == pytest.approx(busy, rel=0.02)


def test_several_slots_with_random_requests_wait_as_erlang_c_says():
    """M/M/c with c = 4 and 3 erlangs: P(wait) = C(4, 3), mean wait = C / (c * mu - lambda)."""
    chance = random.Random(3)
    asked = [Arrival(one.at, chance.expovariate(1.0)) for one in poisson(rate=3.0, count=80_000)]
    tail = 3**4 / math.factorial(4) * 4 / (4 - 3)
    waits = tail / (sum(3**k / math.factorial(k) for k in range(4)) + tail)

    of_slots = simulate(asked, ALONE, Fleet(slots=4))
    of_replicas = simulate(asked, ALONE, Fleet(least=4))

    assert max(map(abs, map(operator.sub, of_slots.waits, of_replicas.waits))) < 1e-6
    assert mean([wait > 0 for wait in of_slots.waits]) == pytest.approx(waits, rel=0.05)
    assert mean(of_slots.waits) == pytest.approx(waits / (4 - 3), rel=0.1)


def test_beyond_saturation_the_queue_grows_by_what_cannot_be_served():
    """Two a second come, one a second is served: the request of second t waits t, and all takes twice as long."""
    outcome = simulate(arrivals([number / 2 for number in range(200)]), ALONE, Fleet())

    assert outcome.waits == pytest.approx([number / 2 for number in range(200)])
    assert outcome.end == pytest.approx(200)


def test_a_full_queue_refuses():
    outcome = simulate(arrivals([0, 0.1, 0.2, 0.3]), ALONE, Fleet(waiting=1))

    assert (outcome.refused, len(outcome.waits)) == (2, 2)


def test_replicas_grow_under_load_when_their_model_is_loaded_and_go_back():
    """Four at once for one replica: 3 more are wanted at the first look, and load for 2 s."""
    fleet = Fleet(most=3, start_seconds=2, upscale_seconds=0, downscale_seconds=5, look_seconds=1)
    outcome = simulate([*arrivals([0, 0, 0, 0], tokens=10), Arrival(40, 1)], ALONE, fleet)

    assert outcome.waits == pytest.approx([0, 3, 3, 10, 0])
    assert outcome.most == 3
    assert outcome.replica_seconds == pytest.approx(41 + 2 * (18 - 1), abs=2)


def test_replicas_do_not_grow_before_the_load_lasts():
    fleet = Fleet(most=3, upscale_seconds=30, look_seconds=1)

    assert simulate(arrivals([0, 0, 0], tokens=5), ALONE, fleet).most == 1
    assert simulate(arrivals([0, 0, 0], tokens=50), ALONE, fleet).most == 3


def test_the_same_is_simulated_alike_each_time():
    asked = poisson(rate=3, count=2_000)
    speed, fleet = Speed(alone=0.2, each=0.2), Fleet(most=4, slots=3, upscale_seconds=1, downscale_seconds=3)

    first, second = simulate(asked, speed, fleet), simulate(asked, speed, fleet)

    assert (first.waits, first.replica_seconds) == (second.waits, second.replica_seconds)


def test_a_percentile_is_the_value_that_its_share_does_not_exceed():
    assert [percentile([4, 1, 3, 2], share) for share in (0.25, 0.5, 0.95, 1)] == [1, 2, 4, 4]


def ran(at, run, tokens, who="p/a", wait=0.0):
    rates = {"prompt_rate": None, "completion_rate": None}
    return Asked(at=at, who=who, prompt_tokens=0, completion_tokens=tokens, wait=wait, load=0.0, run=run, **rates)


def test_the_speed_of_a_replica_is_learned_from_what_ran_beside_each_other():
    """Alone 30 ms for a token, two beside each other 50 ms: 10 ms, and 20 ms for each that runs."""
    alone = [ran(at, 0.3, 10) for at in (0, 1, 2)]
    beside = [ran(at, 0.5, 10) for at in (10, 10, 20, 20)]

    speed = learned([*alone, *beside]).speed

    assert (speed.alone, speed.each) == pytest.approx((0.01, 0.02))


def test_without_any_two_at_the_same_time_all_are_said_to_share_what_one_has():
    speed = learned([ran(at, 0.3, 10) for at in (0, 1, 2)]).speed

    assert (speed.alone, speed.each) == pytest.approx((0, 0.03))


def test_what_is_simulated_with_a_learned_speed_is_what_was_recorded():
    """A record that a simulation made: the speed behind it is found again, and so are its waits."""
    speed, fleet = Speed(alone=0.02, each=0.01), Fleet(slots=3)
    asked = poisson(rate=1.5, count=400, tokens=40)
    made = simulate(asked, speed, fleet)
    # Equal requests on one replica end in the order in which they begin.
    record = [
        ran(one.at, total - wait, 40, wait=wait)
        for one, wait, total in zip(asked, made.waits, made.totals, strict=True)
    ]

    model = learned(record)
    again = simulate(arrivals_of(record, model), model.speed, fleet)

    assert (model.speed.alone, model.speed.each) == pytest.approx((0.02, 0.01), rel=0.1)
    assert percentile(again.waits, 0.95) == pytest.approx(percentile(made.waits, 0.95), rel=0.1)


def test_a_hundred_times_the_services_ask_a_hundred_times_as_much_at_other_times():
    record = [ran(at, 0.1, 10 + number, who=f"p/{number}") for number in range(10) for at in range(number, 60, 7)]
    record.sort(key=lambda one: one.at)
    model = Model(Speed(0.01, 0.0), 0.0)

    few, many = scaled(record, model, 10, 6000), scaled(record, model, 1000, 600)

    assert len(few) == pytest.approx(len(record) * 6000 / 59, rel=0.05)
    assert len(many) == pytest.approx(10 * len(few), rel=0.02)
    assert sum(one.tokens for one in few) / len(few) == pytest.approx(
        mean([one.completion_tokens for one in record]), rel=0.02
    )
    assert len({one.at for one in many}) == len(many)
    assert [one.at for one in many] == sorted(one.at for one in many)
    assert few == scaled(record, model, 10, 6000)


def test_bursts_stay_bursts():
    """Ten at once every minute: as many wait as in the record, not as few as if they came one by one."""
    record = [ran(60 * minute + number * 0.001, 1, 1) for minute in range(20) for number in range(10)]
    model = Model(ALONE, 0.0)

    traffic = scaled(record, model, 1, 6000)

    gaps = [later.at - one.at for one, later in itertools.pairwise(traffic)]
    assert mean([gap < 0.01 for gap in gaps]) == pytest.approx(0.9, abs=0.03)
    assert mean(simulate(traffic, ALONE, Fleet()).waits) > 3


def test_the_busiest_span_is_found():
    record = [ran(at, 0.1, 10) for at in (0, 100, 101, 102, 200, 201, 300)]

    assert [one.at for one in busiest(record, 10)] == [100, 101, 102]
    assert busiest(record, 1000) == record


def test_a_record_tells_what_each_model_was_asked(tmp_path):
    answered = {"status": 200, "completion_tokens": 20, "total_ms": 900.0, "queue_ms": 300.0, "load_ms": 100.0}
    first = {"id": f"{id_at(5)}-7000-8000-000000000001", "received_at": 5.0, "model_reference": "a"}
    with closing(ExchangeDatabase(tmp_path / "exchanges.sqlite3")) as database:
        database.insert_many(
            [
                recorded("chat.json", **first, **answered, prompt_tokens=30, cached_tokens=10, service="web"),
                recorded("chat.json", model_reference="a", status=200, completion_tokens=None),
                recorded("chat.json", model_reference="a", **{**answered, "status": 500}),
                recorded("chat.json", model_reference="b", **answered),
            ]
        )

    found = read(tmp_path)

    assert {model: len(each) for model, each in found.items()} == {"a": 1, "b": 1}
    (one,) = found["a"]
    assert (one.prompt_tokens, one.completion_tokens, one.begins) == (20, 20, pytest.approx(5.4))
    assert (one.wait, one.run) == pytest.approx((0.3, 0.5))


def test_the_plan_is_marked_as_a_simulation_line_by_line_and_needs_less_than_each_for_itself(monkeypatch):
    """A day of ten services that ask for an hour in the morning, and hardly afterwards."""
    monkeypatch.setattr(scale, "_SIMULATED_SECONDS", 300.0)
    monkeypatch.setenv("DMRC_SCALE_PRICE", "0.5")
    morning = [ran(at, 2.0, 40, who=f"p/{at // 3 % 10}") for at in range(0, 3600, 3)]
    later = [ran(at, 2.0, 40, who="p/0") for at in range(7200, 90_000, 3600)]

    figures = scale._plan("docker.io/ai/llm:latest", [*morning, *later])

    assert all(one.name.startswith("simulation: ") for one in figures)
    replicas = {one.name.split()[1]: one.value for one in figures if one.name.endswith("replicas")}
    assert list(replicas) == ["10", "30", "100", "300", "1,000"]
    assert 67 <= replicas["1,000"] < 100 * replicas["10"]
    hours = [one for one in figures if one.name.endswith("replica-hours in a day")][-1]
    assert hours.value == 24 * replicas["1,000"]
    assert hours.ours == f" at {12 * replicas['1,000']:.2f}"
    assert int(hours.theirs.split()[0]) == pytest.approx(replicas["1,000"] + 23 * math.ceil(replicas["1,000"] / 1200))


def test_the_queue_of_a_real_dmrc_is_what_is_simulated(dmrc):
    """Sixty requests of ten services at 80 % of what two slots can do; the engine takes 10 ms for a word, and computes
    nothing, so that its speed is the same however busy this machine is."""
    install_toy(dmrc)
    replay = scale.Replay(dmrc, "local/toy", "engine: toy, parallel: 2, keep_alive: -1")
    chance, at, asked = random.Random(5), 0.0, []
    for _ in range(60):
        at += chance.expovariate(0.8 * 2 / (0.010 * 35))
        asked.append(scale.Request(at, chance.randrange(10), 10, chance.randint(10, 60)))

    record = replay.play(asked)

    model = learned(record)
    told = simulate(arrivals_of(record, model), model.speed, Fleet(slots=2))
    assert sum(wait > 0.01 for wait in told.waits) > 20
    for share in (0.5, 0.95):
        measured = percentile([one.wait for one in record], share)
        assert percentile(told.waits, share) == pytest.approx(measured, rel=0.25, abs=0.1)
