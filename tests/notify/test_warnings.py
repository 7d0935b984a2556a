"""Little room on the disk, and the operator's own faults: mailed once, to whom it concerns."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tailrace.clock import MICROS
from tailrace.notify.room import Room
from tailrace.notify.warnings import make_warnings
from tailrace.state.database import reading, writing
from tailrace.state.delivery import Cause
from tailrace.state.mails import Mail
from tailrace.state.tables import delivery
from tests.notify.conftest import Office

pytestmark = pytest.mark.slow(reason="days of samples are a transaction each")

GB = 10**9
CLOCK = Cause(
    "operator",
    "RequestTimeTooSkewed",
    "The clock of tailrace's machine is wrong, 20 minutes behind the store's.",
    "Set the machine's clock; request signing follows it.",
)
OPERATOR = ("ops@tailrace.example",)


def live(office: Office, hours: float, gigabytes_an_hour: float) -> list[str]:
    """Let the disk fill, and return the subjects of the mails that are made."""
    for _ in range(round(hours)):
        office.mailing.gauge.sample()
        make_warnings(office.mailing)
        office.wait(hours=1)
        office.disk.free -= round(gigabytes_an_hour * GB)
    return [one.subject for one in reversed(office.mails.newest())]


def room(office: Office) -> Room:
    with reading(office.engine) as connection:
        return office.mailing.gauge.room(connection)


def readers(mail: Mail) -> tuple[str, ...]:
    return tuple(one.address for one in mail.recipients)


def test_room_is_what_is_free_before_uploads_stop_at_the_rate_of_the_last_day(
    office: Office,
) -> None:
    live(office, 48, 1)
    office.mailing.gauge.sample()
    found = room(office)

    assert found.free_bytes == pytest.approx(452 * GB)
    assert found.usable_bytes == pytest.approx(448 * GB), "the second reserve is 4 GB"
    assert found.filled_bytes == pytest.approx(24 * GB)
    assert found.seconds_left == pytest.approx(448 / 24 * 86400)


def test_only_the_last_day_counts(office: Office) -> None:
    live(office, 24, 4)
    live(office, 24, 0.1)
    assert room(office).filled_bytes == pytest.approx(2.4 * GB, rel=0.01)


def test_a_disk_that_does_not_fill_has_room_without_end(office: Office) -> None:
    live(office, 2, -1)
    assert room(office).is_known
    assert room(office).seconds_left is None


def test_the_rate_of_the_first_day_is_that_of_its_hours(office: Office) -> None:
    office.disk.free = 44 * GB
    live(office, 3, 5)
    assert room(office).seconds_left == pytest.approx(25 / 5 * 3600)


@pytest.mark.parametrize("hours_off", [1.5, 20, 26])
def test_the_time_in_which_the_service_was_stopped_counts_for_nothing(
    office: Office, hours_off: float
) -> None:
    live(office, 3, 5)
    office.mailing.gauge.sample()
    office.wait(hours=hours_off)
    office.disk.free = 34 * GB
    live(office, 2, 5)
    assert room(office).seconds_left == pytest.approx(20 / 5 * 3600)


def test_in_the_first_hour_nothing_is_known_and_nobody_is_mailed(office: Office) -> None:
    office.disk.free = 20 * GB
    for minutes in range(0, 70, 10):
        office.mailing.gauge.sample()
        make_warnings(office.mailing)
        assert office.kinds() == ([] if minutes < 60 else ["room"])
        assert room(office).is_known == (minutes >= 60)
        office.disk.free -= GB
        office.wait(seconds=600)
    assert (
        "Filled by            6.0 GB in 60 minutes of the last day" in office.mails.newest()[0].text
    )


def test_a_warning_is_not_over_because_nothing_is_known_after_a_stop(office: Office) -> None:
    office.disk.free = 80 * GB
    live(office, 3, 2)
    assert office.kinds() == ["room"]
    office.wait(hours=30)
    for _ in range(8):
        office.mailing.gauge.sample()
        make_warnings(office.mailing)
        office.wait(seconds=600)
        office.disk.free -= GB // 3
    assert office.kinds() == ["room"]


def test_a_reserve_that_is_broken_before_the_rate_is_known_is_told(office: Office) -> None:
    office.disk.free = 9 * GB
    make_warnings(office.mailing)
    assert "Filled by            not known yet" in office.mails.newest()[0].text


def test_samples_of_a_clock_that_was_set_back_are_forgotten(office: Office) -> None:
    office.clock.step(365 * 24 * 3600 * MICROS)
    office.mailing.gauge.sample()
    office.clock.step(-365 * 24 * 3600 * MICROS)
    office.disk.free -= 10 * GB
    office.mailing.gauge.sample()
    assert room(office).filled_bytes == 0
    office.wait(hours=1)
    office.disk.free -= GB
    office.mailing.gauge.sample()
    assert room(office).filled_bytes == GB


def test_the_operator_is_told_at_7_days_and_at_24_hours(office: Office) -> None:
    office.disk.free = 100 * GB
    # 12 GB a day: a week is left with 84 GB, a day with 12.
    subjects = live(office, 180, 0.5)

    assert subjects == [
        "tailrace's disk has room for 7 days",
        "tailrace's disk has room for 23 hours",
    ], "the first look below the limit makes it"
    assert {readers(one) for one in office.mails.newest()} == {OPERATOR}
    text = office.mails.newest()[0].text
    assert "Before uploads stop  11." in text
    assert "archive.keep_days" in text


def test_a_disk_that_fills_at_once_is_told_of_once(office: Office) -> None:
    office.disk.free = 100 * GB
    office.mailing.gauge.sample()
    office.wait(hours=1)
    office.disk.free = 40 * GB
    for _ in range(3):
        make_warnings(office.mailing)
    assert [one.subject for one in office.mails.newest()] == [
        "tailrace's disk has room for less than an hour"
    ]


def test_room_that_goes_up_and_down_is_mailed_once(office: Office) -> None:
    office.disk.free = 100 * GB
    for _ in range(24):
        office.mailing.gauge.sample()
        office.wait(hours=1)
    # A week of room at 88 GB, and a quarter more than that at 90.2.
    for free in (88.5, 87.9, 88.5, 87.9, 90.0, 87.9):
        office.disk.free = round(free * GB)
        make_warnings(office.mailing)
    assert office.kinds() == ["room"]

    for free in (90.5, 87.9):
        office.disk.free = round(free * GB)
        make_warnings(office.mailing)
    assert office.kinds() == ["room", "room"]


def test_room_that_was_made_is_mailed_of_again_when_it_is_gone(office: Office) -> None:
    office.disk.free = 90 * GB
    live(office, 26, 0.5)
    assert office.kinds() == ["room"]
    office.disk.free += 400 * GB
    live(office, 25, 0.5)
    office.disk.free = 80 * GB
    live(office, 25, 0.5)
    assert office.kinds() == ["room", "room"]


def test_who_owns_a_refused_bucket_is_told_of_the_room_too(office: Office) -> None:
    office.active(bucket="well")
    refused = office.active(bucket="refused")
    office.seal(office.today)
    office.refuse(refused)
    office.disk.free = 84 * GB
    live(office, 24, 0.5)

    theirs, operators = office.mails.newest()
    assert (operators.kind, operators.destination_id, readers(operators)) == (
        "room",
        None,
        OPERATOR,
    )
    assert theirs.destination_id == refused.id
    assert readers(theirs) == ("ann@acme.example", "bob@acme.example", "cleo@acme.example")
    assert theirs.subject.startswith("Room for ")
    assert "access to refused is refused" in theirs.subject
    assert "1 closed hour, 10 events" in theirs.text
    assert "archive" not in theirs.text, "the machine is not theirs"


@pytest.mark.parametrize(
    ("free", "ordinal"), [(9 * GB, "first"), (3 * GB, "second"), (GB // 2, "third")]
)
def test_each_reserve_is_told_to_the_operator_once(office: Office, free: int, ordinal: str) -> None:
    office.disk.free = free
    for _ in range(5):
        make_warnings(office.mailing)
    disk = [one for one in office.mails.newest() if one.kind == "disk"]
    assert [one.subject for one in disk] == [f"tailrace's disk is under the {ordinal} reserve"]
    assert readers(disk[0]) == OPERATOR


def test_a_reserve_that_is_left_by_little_is_not_mailed_of_again(office: Office) -> None:
    for _ in range(5):
        office.disk.free = 9_900_000_000
        make_warnings(office.mailing)
        office.disk.free = 10_500_000_000
        make_warnings(office.mailing)
    assert office.kinds() == ["disk"]
    office.disk.free = 12 * GB
    make_warnings(office.mailing)
    office.disk.free = 9 * GB
    make_warnings(office.mailing)
    assert office.kinds() == ["disk", "disk"]


def fail(office: Office, cause: Cause | Mapping[int, Cause], times: int) -> None:
    """Let every run fail so many times, for a cause or for its destination's."""
    for _ in range(times):
        for one in list(iter(office.claim, None)):
            mine = cause if isinstance(cause, Cause) else cause[one.destination_id]
            office.ledger.retry(one, mine, 0)


def test_a_fault_of_the_operators_is_mailed_to_the_operator_alone_once_a_day(
    office: Office,
) -> None:
    for bucket in ("one", "two"):
        office.active(bucket=bucket)
    office.seal(office.today)
    fail(office, CLOCK, 7)
    make_warnings(office.mailing)
    assert office.kinds() == [], "it may pass"
    fail(office, CLOCK, 1)
    for hour in range(25):
        make_warnings(office.mailing)
        assert len(office.kinds()) == (1 if hour < 24 else 2)
        office.wait(hours=1)

    found = office.mails.newest()
    assert {(one.kind, readers(one)) for one in found} == {("fault", OPERATOR)}
    assert "20 minutes behind the store's" in found[0].text
    assert "Set the machine's clock" in found[0].text
    assert "Destinations  1, 2" in found[0].text


def test_a_fault_that_the_probes_of_an_outage_meet_is_the_operators_too(office: Office) -> None:
    destination = office.active()
    office.refuse(destination)
    make_warnings(office.mailing)
    assert office.kinds() == []
    office.ledger.probe_failed(destination.id, CLOCK, 0)
    make_warnings(office.mailing)
    assert office.kinds() == ["fault"]


def test_a_fault_that_comes_and_goes_is_mailed_once_a_day(office: Office) -> None:
    office.active()
    for hour in range(49):
        office.seal(office.today.plus(hour))
        fail(office, CLOCK, 8)
        make_warnings(office.mailing)
        assert len(office.kinds()) == 1 + hour // 24
        office.deliver(office.held())
        make_warnings(office.mailing)
        office.wait(hours=1)


def test_a_fault_is_told_whatever_else_is_retried(office: Office) -> None:
    office.active(bucket="slow")
    other = office.active(bucket="other")
    hours = [office.today.plus(n) for n in range(201)]
    office.seal(*hours)
    damaged = Cause("operator", "BadDigest", "The file arrives damaged.", "Restore it.")
    while (held := office.claim()) is not None:
        ours = held.destination_id == other.id and held.hour == hours[0]
        cause = damaged if ours else office.busy
        office.ledger.retry(held, cause, 9)
    with writing(office.engine) as connection:
        connection.execute(delivery.update().values(attempts=8))
    make_warnings(office.mailing)
    assert [one.subject for one in office.mails.newest()] == ["tailrace cannot deliver: BadDigest"]


def unreachable(name: str) -> Cause:
    return Cause("operator", "BadRequest", f"{name} is a private address.", "Name another.")


def test_faults_of_one_code_are_told_in_one_mail_each_with_its_sentence(office: Office) -> None:
    numbers = [office.active(bucket=bucket).id for bucket in ("one", "two", "three")]
    office.seal(office.today)
    urls = ("https://a", "https://b", "https://b")
    fail(office, dict(zip(numbers, map(unreachable, urls), strict=True)), 8)
    make_warnings(office.mailing)

    (mail,) = office.mails.newest()
    text = " ".join(mail.text.split())
    assert "https://a is a private address. Destination 1 https://b is a private address. " in text
    assert "Destinations 2, 3 Name another. --" in text
    assert text.count("Name another.") == 1


def test_a_fault_that_comes_to_one_destination_after_the_other_is_one_mail_a_day(
    office: Office,
) -> None:
    office.active(bucket="one")
    office.seal(office.today)
    fail(office, CLOCK, 8)
    make_warnings(office.mailing)
    for bucket in ("two", "three"):
        office.wait(seconds=60)
        office.active(bucket=bucket)
        office.seal(office.today.next())
        fail(office, CLOCK, 8)
        make_warnings(office.mailing)
    assert len(office.kinds()) == 1, "they wait for one another"
    for hours, told in ((0.5, 1), (0.5, 2), (22.9, 2), (0.1, 3), (1, 3), (22.9, 3), (0.1, 4)):
        office.wait(hours=hours)
        make_warnings(office.mailing)
        assert len(office.kinds()) == told
    named = [one.text.partition("Destination")[2].split("\n")[0] for one in office.mails.newest()]
    assert named == ["s  1, 2, 3", "s  1, 2, 3", "s  2, 3", "  1"]


@pytest.mark.parametrize("kind", ["temporary", "unknown", "conflict"])
def test_other_troubles_of_runs_are_no_fault_of_the_operators(office: Office, kind: str) -> None:
    office.active()
    office.seal(office.today)
    fail(office, Cause(kind, "SlowDown", "Slow.", "Wait."), 20)  # type: ignore[arg-type]
    make_warnings(office.mailing)
    assert office.kinds() == []
