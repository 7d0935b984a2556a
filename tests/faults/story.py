"""What happens in a life: every kind of write that the service knows, in some hundred steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from tailrace.clock import MICROS
from tailrace.hours import Hour
from tailrace.seal.proof import CheckedManifest
from tests.faults.bucket import prove
from tests.faults.life import HOUR, Life

# A life that is not at rest after so many looks, a minute apart, waits for a person.
LOOKS_MAX = 60


def begin(life: Life) -> None:
    """Make the folder and a destination, and open what is opened at a start."""
    life.command(life.initialise)
    life.command(life.add_destination)
    life.command(life.start)
    life.tick()
    life.process()


def live(life: Life) -> None:
    """Hours of two collectors, a jump of the clock, a retired partition, old files dropped."""
    requests = count()
    for _ in range(5):
        post(life, requests, 4)
        life.beat()
        life.process()
        pass_seconds(life, 31)
        life.process()
    life.deliver()
    end_hour(life)

    post(life, requests, 2)
    life.clock.step(HOUR * MICROS)
    post(life, requests, 1)
    life.command(life.accept_clock)
    pass_seconds(life, 2)
    post(life, requests, 2)
    pass_seconds(life, 31)
    life.process()
    life.command(lambda: life.retire(2))
    end_hour(life)

    # Past midnight whatever was delivered may go, since the first reserve is broken.
    for _ in range(2):
        end_hour(life)
        pass_seconds(life, 61)
        life.process()
    life.post_again()
    pass_seconds(life, 31)
    life.process()


def settle(life: Life) -> None:
    """Send again what was not answered 200, and go on until nothing is owed, without a person."""
    life.post_again()
    end_hour(life)
    for _ in range(LOOKS_MAX):
        pass_seconds(life, 60)
        life.process()
        life.deliver()
        if _is_at_rest(life):
            return
    raise AssertionError(f"not at rest: {life.ledger().runs()}, {life.failures}")


def heal(life: Life) -> list[CheckedManifest]:
    """Let the disk be well: the living parts go on, then all start anew; prove what is delivered.

    Nothing may fail any more. Whoever was answered 200 sends once more meanwhile, as a client that
    did not hear it: what was seen has to be known still.
    """
    life.failures.clear()
    for _ in range(2):
        for request in sorted(life.answers.acknowledged):
            life.post(1, request)
        settle(life)
        assert not life.failures, life.failures
        life.end()
        life.start()
    assert not life.answers.unsure | life.answers.refused
    litter = [path for path in life.folder.path.rglob("*tmp") if path.is_file()]
    assert not litter
    return prove(life.bucket.objects(), life.answers)


def _is_at_rest(life: Life) -> bool:
    last = Hour.of_micros(life.clock.now_micros()).previous()
    newest = [hour for hour, _ in life.ledger().newest_sealed().values()]
    owed = [run for run in life.ledger().runs() if run.sealed and run.state != "success"]
    return not owed and min(newest, default=Hour(0)) >= last


def post(life: Life, requests: Iterator[int], rounds: int) -> None:
    """Send requests to both collectors in turn."""
    for _ in range(rounds):
        for partition in (1, 2):
            pass_seconds(life, 1)
            life.post(partition, next(requests))


def pass_seconds(life: Life, seconds: int) -> None:
    """Let time pass."""
    life.clock.advance(seconds * MICROS)


def end_hour(life: Life) -> None:
    """Let the hour end, seal it and deliver it."""
    now = life.clock.now_micros()
    life.clock.advance(Hour.of_micros(now).end_micros - now + MICROS)
    life.tick()
    life.process()
    life.deliver()
