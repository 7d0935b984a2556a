"""What becomes of runs when access is refused or a store is busy: retries, outages, probes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from tailrace.clock import MICROS
from tailrace.demo import seaweed
from tailrace.errors import LeaseLost
from tailrace.state.delivery import Capabilities, Cause

DATA = gzip.compress(b'{"event_type":"one"}\n', mtime=0)
ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>m</Message></Error>"
MINUTE = 60
DAY = 24 * 60 * MINUTE


def policy_without(action: str) -> dict[str, list[str]]:
    policy = seaweed.export_policy("exports/")
    del policy[action]
    return policy


def test_refused_access_is_tried_six_times_in_38_minutes_then_an_outage_begins(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    destination = world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    server.put_policy(bucket, policy_without("s3:PutObject"))
    exporter = world.exporter()

    for minutes in (0, 1, 2, 5, 10, 20):
        if minutes:
            assert world.run().state == "retrying"
            world.wait(minutes * MINUTE - 1)
            assert not exporter.deliver_next(), "not before its time"
            world.wait(1)
        assert exporter.deliver_next()

    run = world.run()
    assert (run.state, run.attempts) == ("failed", 6)
    assert (run.cause.kind, run.cause.permission) == ("access", "s3:PutObject")
    assert world.destinations.get(destination.id).outage_since_micros is not None
    later = world.hour.plus(1)
    world.seal(world.put_file(1, DATA, later), hour=later)
    assert not exporter.deliver_next(), "hours sealed meanwhile make no tries"


def test_a_restart_between_the_tries_puts_no_outage_off(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    destination = world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    server.put_policy(bucket, policy_without("s3:PutObject"))

    for minutes in (0, 1, 2, 5, 10, 20):
        world.wait(minutes * MINUTE)
        assert world.exporter().deliver_next()

    assert (world.run().state, world.run().attempts) == ("failed", 6)
    assert world.destinations.get(destination.id).outage_since_micros is not None


def test_a_try_that_a_stop_interrupts_is_no_refusal_and_takes_none_back(
    world: Any, bucket: str, proxy: Any
) -> None:
    destination = world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, DATA))

    for number, minutes in enumerate((0, 1, 2, 5, 10, 20), start=1):
        world.wait(minutes * MINUTE)
        stopped = world.exporter()
        proxy.add(
            "PUT",
            "%231.json.gz",
            before=lambda stopped=stopped: stopped.stop(0),
            answer=(500, ERROR % b"InternalError"),
        )
        assert stopped.deliver_next()
        run = world.run()
        assert (run.state, run.attempts, run.due_micros) == ("pending", number - 1, 0)
        assert run.tries[-1].outcome == "let go"
        proxy.add("PUT", "%231.json.gz", answer=(403, ERROR % b"AccessDenied"))
        assert world.exporter().deliver_next()

    assert (world.run().state, world.run().attempts) == ("failed", 6)
    assert world.destinations.get(destination.id).outage_since_micros is not None


def outage(world: Any, bucket: str, server: seaweed.Seaweed) -> Any:
    """Bring a destination into an outage by taking s3:PutObject away."""
    destination = world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    server.put_policy(bucket, policy_without("s3:PutObject"))
    exporter = world.exporter()
    for minutes in (0, 1, 2, 5, 10, 20):
        world.wait(minutes * MINUTE)
        exporter.deliver_next()
    assert world.run().state == "failed"
    return destination


def test_one_probe_every_15_minutes_decides_for_all_hours(
    world: Any, bucket: str, server: seaweed.Seaweed, keys: Callable[[], list[str]]
) -> None:
    destination = outage(world, bucket, server)
    later = world.hour.plus(1)
    world.seal(world.put_file(1, DATA, later), hour=later)
    exporter = world.exporter()

    world.wait(15 * MINUTE - 1)
    exporter.look_after()
    assert (
        world.destinations.get(destination.id).next_probe_micros == world.clock.now_micros() + 10**6
    )
    server.put_policy(bucket, policy_without("s3:GetObject"))
    world.wait(1)
    exporter.look_after()
    found = world.destinations.get(destination.id)
    assert found.outage_cause.permission == "s3:GetObject"
    assert found.next_probe_micros == world.clock.now_micros() + 15 * MINUTE * 10**6
    assert not exporter.deliver_next()

    server.put_policy(bucket, seaweed.export_policy("exports/"))
    world.wait(15 * MINUTE)
    exporter.look_after()
    assert world.destinations.get(destination.id).outage_since_micros is None
    assert exporter.deliver_next()
    assert exporter.deliver_next()
    assert {run.state for run in world.ledger.runs()} == {"success"}
    assert len(keys()) == 6


def test_a_new_outage_is_looked_into_at_once_and_its_next_probe_stays(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    destination = outage(world, bucket, server)
    before = world.destinations.get(destination.id)
    assert before.outage_cause.missing_actions == ()
    policy = policy_without("s3:PutObject")
    del policy["s3:ListBucket"]
    server.put_policy(bucket, policy)
    exporter = world.exporter()

    exporter.look_after()

    found = world.destinations.get(destination.id)
    assert found.outage_cause.missing_actions == ("s3:ListBucket", "s3:PutObject")
    assert found.next_probe_micros == before.next_probe_micros
    assert world.ledger.to_look_into() == []


def test_probes_that_pass_at_once_end_no_outage_and_keep_its_cause(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    destination = outage(world, bucket, server)
    before = world.destinations.get(destination.id)
    server.put_policy(bucket, seaweed.export_policy("exports/"))

    world.exporter().look_after()

    found = world.destinations.get(destination.id)
    assert found.outage_since_micros == before.outage_since_micros
    assert found.outage_cause == before.outage_cause
    assert world.ledger.to_look_into() == []


def test_the_schedule_begins_anew_after_an_outage(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    outage(world, bucket, server)
    exporter = world.exporter()
    server.put_policy(bucket, seaweed.export_policy("exports/"))
    world.wait(15 * MINUTE)
    exporter.look_after()
    server.put_policy(bucket, policy_without("s3:PutObject"))

    exporter.deliver_next()

    run = world.run()
    assert run.state == "retrying"
    assert run.due_micros == world.clock.now_micros() + MINUTE * 10**6


def test_temporary_trouble_backs_off_and_never_gives_up(
    world: Any, bucket: str, proxy: Any
) -> None:
    destination = world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, DATA))
    exporter = world.exporter()

    for _ in range(12):
        proxy.add("PUT", "%231.json.gz", answer=(503, ERROR % b"SlowDown"))
        assert exporter.deliver_next()
        run = world.run()
        assert (run.state, run.cause.code) == ("retrying", "SlowDown")
        assert run.due_micros - world.clock.now_micros() <= 300 * 10**6
        world.wait(300)

    assert world.destinations.get(destination.id).outage_since_micros is None
    exporter.deliver_next()
    assert world.run().state == "success"


def test_temporary_trouble_between_does_not_shorten_the_schedule_of_refusals(
    world: Any, bucket: str, proxy: Any
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, DATA))
    exporter = world.exporter()
    for _ in range(8):
        proxy.add("PUT", "%231.json.gz", answer=(500, ERROR % b"InternalError"))
        exporter.deliver_next()
        world.wait(300)

    proxy.add("PUT", "%231.json.gz", answer=(403, ERROR % b"AccessDenied"))
    exporter.deliver_next()

    run = world.run()
    assert run.state == "retrying"
    assert run.due_micros == world.clock.now_micros() + MINUTE * 10**6


@pytest.mark.parametrize("code", [b"RequestTimeTooSkewed", b"BadDigest"])
def test_a_fault_of_the_operators_never_becomes_an_outage(
    world: Any, bucket: str, proxy: Any, code: bytes
) -> None:
    destination = world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, DATA))
    exporter = world.exporter()

    for _ in range(8):
        proxy.add("PUT", "%231.json.gz", answer=(403, ERROR % code))
        exporter.deliver_next()
        world.wait(300)

    assert (world.run().state, world.run().cause.kind) == ("retrying", "operator")
    assert world.destinations.get(destination.id).outage_since_micros is None


def test_a_refusal_that_nobody_knows_is_told_to_the_owner_and_tried_till_it_ends(
    world: Any, bucket: str, proxy: Any
) -> None:
    destination = world.add_destination(bucket, endpoint_url=proxy.url)
    world.seal(world.put_file(1, DATA))
    exporter = world.exporter()
    for wait in (60, 120, 300, 600, 1200, 0):
        proxy.add("PUT", "%231.json.gz", answer=(403, ERROR % b"SomethingNew"))
        exporter.deliver_next()
        world.wait(wait + 1)

    cause = world.destinations.get(destination.id).outage_cause
    assert (world.run().state, cause.kind, cause.code) == ("failed", "access", "SomethingNew")
    assert (cause.permission, cause.missing_actions) == (None, ())
    assert (cause.call, cause.status) == ("PutObject", 403)

    world.wait(15 * 60)
    exporter.look_after()
    while exporter.deliver_next():
        pass
    assert world.run().state == "success"


class OddClients:
    """Makes clients like another source, but raises for one endpoint."""

    def __init__(self, source: Any, odd_url: str) -> None:
        self._source = source
        self._odd_url = odd_url

    def of(self, destination: Any) -> Any:
        if destination.endpoint_url == self._odd_url:
            raise RuntimeError("odd")
        return self._source.of(destination)

    def open_in(self, destination: Any, region: str) -> Any:
        return self._source.open_in(destination, region)


def test_a_probe_that_breaks_keeps_no_other_destination_from_being_probed(
    world: Any, bucket: str, proxy: Any
) -> None:
    odd, fine = world.add_destination(bucket, endpoint_url=proxy.url), world.add_destination(bucket)
    world.clients = OddClients(world.clients, proxy.url)
    refused = Cause("access", "AccessDenied", "Refused.", "Allow it.")
    for number, destination in enumerate((odd, fine)):
        world.ledger.begin_outage(destination.id, refused, number)

    world.exporter().look_after()

    assert world.destinations.get(fine.id).outage_since_micros is None
    assert "odd" in world.destinations.get(odd.id).outage_cause.sentence
    assert world.ledger.probe_due(world.clock.now_micros()) == []


def test_capabilities_that_changed_are_noted_when_access_returns(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    less = Capabilities(conditional_put=False, conditional_complete=False, checksums=False)
    destination = world.add_destination(bucket, capabilities=less)
    world.seal(world.put_file(1, DATA))
    cause_run = world.ledger.claim(
        now_micros=world.clock.now_micros(), lease_micros=10**9, destination_limit=1
    )
    world.ledger.failed(cause_run, Cause("access", "x", "x", "x"), next_probe_micros=0)

    world.exporter().look_after()

    assert world.destinations.get(destination.id).capabilities == Capabilities(
        conditional_put=True, conditional_complete=True, checksums=True
    )
    assert world.exporter().deliver_next()


@pytest.mark.parametrize("state", ["retrying", "running"])
def test_a_clock_that_was_set_back_by_a_day_delays_no_delivery(
    world: Any, bucket: str, state: str
) -> None:
    world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    world.clock.step(DAY * MICROS)
    held = world.exporter()._claim()
    if state == "retrying":
        cause = Cause("temporary", "SlowDown", "slow", "wait")
        world.ledger.retry(held, cause, world.clock.now_micros() + 300 * MICROS)
    world.clock.step(-DAY * MICROS)

    exporter = world.exporter()
    assert not exporter.deliver_next()
    exporter.look_after()
    assert exporter.deliver_next()
    assert world.run().state == "success"
    with pytest.raises(LeaseLost):
        world.ledger.renew(held, world.clock.now_micros(), now_micros=0)


def test_a_clock_that_was_set_back_by_a_day_delays_no_probe(
    world: Any, bucket: str, server: seaweed.Seaweed
) -> None:
    destination = outage(world, bucket, server)
    world.clock.step(DAY * MICROS)
    exporter = world.exporter()
    exporter.look_after()
    world.clock.step(-DAY * MICROS)
    server.put_policy(bucket, seaweed.export_policy("exports/"))
    exporter.look_after()
    assert world.destinations.get(destination.id).outage_since_micros is None


def test_times_that_a_schedule_set_are_left_as_they_are(world: Any, bucket: str) -> None:
    world.add_destination(bucket)
    world.seal(world.put_file(1, DATA))
    exporter = world.exporter()
    exporter._claim()
    exporter.look_after()
    assert not exporter.deliver_next()
