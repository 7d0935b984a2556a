"""Starts the service on what a power cut left, goes on to the hour's end, and proves the promises.

Nobody mends anything in between: a start that is refused is a failure like a lost event.
"""

from __future__ import annotations

import zlib
from collections import Counter
from pathlib import Path

import msgspec

from powercut.mmdb import write_mmdb
from powercut.outside import Bucket, Promises, Sent, StoredObject
from powercut.service import (
    PREFIX,
    SECRET,
    Account,
    Disk,
    SeededIds,
    Service,
    initialise,
    record_of,
)
from tailrace.clock import MICROS, SteppedClock
from tailrace.errors import Corrupt
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.log.partitions import list_partitions
from tailrace.log.stamping import CLOCK_ACCEPTED_FILE
from tailrace.seal.merges import MergedId
from tailrace.seal.names import manifest_key, marker_key
from tailrace.seal.proof import CheckedManifest, check_chain
from tailrace.state.delivery import OWED_STATES
from tailrace.state.secrets import Secrets

# Hours closed after the cut: the one under way, and one more with an event of its own.
HOURS_AFTER = 2
# Requests from this number on are repeats that the aftermath sends.
AGAIN = 100_000
# Seconds between the cut and the next start.
DOWN_MICROS = 90 * MICROS


class Broken(AssertionError):
    """A promise does not hold; the text says which."""


def prove(folder: Path, promises: Promises, *, processor_first: bool) -> None:
    """Recover a folder and go on; raise `Broken`, or whatever stopped the service.

    Which part comes up first is by chance in a real start, so both orders are tried.
    """
    clock = SteppedClock(promises.now_micros + DOWN_MICROS, 0)
    files, ids = Unsynced(), SeededIds(99)
    data = DataFolder(folder)
    bucket = Bucket(dict(promises.objects))
    for path, content in promises.kept.items():
        if not (folder / path).exists() or (folder / path).read_bytes() != content:
            raise Broken(f"{path} was durable, and is gone or another one")
    account = _after_setting_up(data, files, ids, clock, promises)
    _check_small_files(data, promises)
    data.fix_clock(None, files)
    # The operator has another file by now; hours that were begun with the old one keep theirs.
    places = write_mmdb(folder.parent / "places.mmdb", {}, "Later-City")
    service = Service(data, files, ids, clock, bucket, places)
    try:
        _check_destinations(service, promises)
        service.add_destinations(account.projects)
        service.renew_age()
        if processor_first:
            service.start_processor()
            service.settle()
            service.open_writers()
        else:
            service.open_writers()
            service.start_processor()
        promises = _send_again(service, promises)
        for _ in range(HOURS_AFTER):
            service.finish_hour()
        _check_delivered(service)
    finally:
        service.close()
    Proof(account, bucket.objects, promises).check()


def _send_again(service: Service, promises: Promises) -> Promises:
    """Repeat all answered events of each project, as clients do that did not hear the answer."""
    more = promises.with_answers()
    by_project: dict[int, list[int]] = {}
    for number in promises.acknowledged:
        sent = promises.sent[number]
        by_project.setdefault(sent.project, []).extend(sent.events)
    partition = min(service.writers)
    for project, events in by_project.items():
        request = AGAIN + len(more.sent)
        again = Sent(request, project, tuple(dict.fromkeys(events)))
        (stamp,) = service.append(partition, [record_of(more, again, service.clock.now_micros())])
        if not isinstance(stamp, int):
            raise Broken(f"a repeat was refused: {stamp}")
        more.sent[request], more.acknowledged[request] = again, stamp
    return more


class Unsynced(Disk):
    """Files whose syncs are left out: what follows a cut need not outlive another one here."""

    def sync_descriptor(self, descriptor: int) -> None:
        """Wait for nothing."""

    def sync_folder(self, path: Path) -> None:
        """Wait for nothing."""


def _after_setting_up(
    data: DataFolder, files: Disk, ids: SeededIds, clock: SteppedClock, promises: Promises
) -> Account:
    if promises.initialised is None:
        return initialise(data, files, ids, clock)
    data.check()
    before = promises.initialised
    account = initialise(data, files, ids, clock)
    if account != Account(before.organization, before.projects, before.api_keys):
        raise Broken(f"init printed {before}, but the folder holds {account}")
    return account


def _check_small_files(data: DataFolder, promises: Promises) -> None:
    if promises.clock_offset is not None:
        fixed = data.clock_file()
        if fixed is None or fixed.offset_micros != promises.clock_offset:
            raise Broken(f"the clock was fixed to {promises.clock_offset}, not {fixed}")
    if promises.clock_accepted is not None:
        path = data.log / CLOCK_ACCEPTED_FILE
        said = msgspec.json.decode(path.read_bytes()) if path.exists() else None
        if said != {"accepted_micros": promises.clock_accepted}:
            raise Broken(f"the clock was accepted at {promises.clock_accepted}, not {said}")
    ended = {listed.id for listed in list_partitions(data.log) if listed.retired is not None}
    if not promises.retired <= ended:
        raise Broken(f"partitions {promises.retired} were retired, listed are {ended}")


def _check_destinations(service: Service, promises: Promises) -> None:
    found = service.destinations.list()
    if promises.destination is not None:
        last = next((one for one in found if one.id == promises.destination), None)
        if last is None or last.state != "active":
            raise Broken(f"destination {promises.destination} was active and is {last}")
    secrets = Secrets.open(service.folder.secrets_key, service.files, SeededIds(98))
    for destination in found:
        if destination.secret_encrypted is None:
            raise Broken(f"destination {destination.id} lost its secret")
        if secrets.decrypt(destination.secret_encrypted) != SECRET:
            raise Broken(f"destination {destination.id} has another secret")


def _check_delivered(service: Service) -> None:
    owed = [run for run in service.ledger.runs(states=OWED_STATES) if run.sealed]
    if owed:
        raise Broken(f"{len(owed)} runs stay owed: {owed[0].cause}, {owed[0]}")
    missing = service.ledger.check_derived()
    if missing:
        raise Broken(f"{missing} runs have no row")


class Line(msgspec.Struct, frozen=True):
    """What of an exported line tells which event it is, and where it was found."""

    number: int
    request: int
    hour: Hour
    uuid: str
    amplitude_id: int


class _Properties(msgspec.Struct):
    number: int
    request: int


class _Exported(msgspec.Struct):
    event_properties: _Properties
    uuid: str
    amplitude_id: int


_decoder = msgspec.json.Decoder(_Exported)
_merge_decoder = msgspec.json.Decoder(MergedId)


class Proof:
    """Reads the bucket alone, and holds it against what was promised."""

    def __init__(
        self, account: Account, objects: dict[str, StoredObject], promises: Promises
    ) -> None:
        self._account = account
        self._objects = objects
        self._promises = promises

    def check(self) -> None:
        """Raise `Broken` or `Corrupt` unless every promise holds."""
        named: set[str] = set()
        lines: list[Line] = []
        merges: list[MergedId] = []
        for scope in (*self._account.projects, -self._account.organization):
            for checked in self._chain(scope):
                hour = Hour.parse(checked.record.hour)
                named.add(manifest_key(PREFIX, scope, hour))
                named.add(marker_key(PREFIX, scope, hour))
                named.update(checked.keys)
                for key in checked.keys:
                    raw = self._raw_lines(key, checked)
                    if scope > 0:
                        lines += (_line_of(line, hour) for line in raw)
                    else:
                        merges += map(_merge_decoder.decode, raw)
                if scope > 0:
                    self._check_accepted(scope, hour, checked)
        if named != self._objects.keys():
            raise Broken(f"no manifest goes with {sorted(self._objects.keys() ^ named)}")
        self._check_events(lines)
        _check_persons(lines, merges)

    def _chain(self, scope: int) -> list[CheckedManifest]:
        prefix = f"{PREFIX}_manifests/{scope}/"
        keys = [key for key in self._objects if key.startswith(prefix)]
        return check_chain(self._objects[key].body for key in sorted(keys, key=_hour_of))

    def _raw_lines(self, key: str, checked: CheckedManifest) -> list[bytes]:
        body = self._objects[key].body
        name = key.rpartition("/")[2]
        file = next(file for file in checked.record.files if file.name == name)
        reader = zlib.decompressobj(wbits=31)
        raw = reader.decompress(body)
        if not reader.eof or reader.unused_data or raw.count(b"\n") != file.lines:
            raise Broken(f"{key} is not one gzip member of {file.lines} lines")
        return raw.splitlines()

    def _check_accepted(self, project: int, hour: Hour, checked: CheckedManifest) -> None:
        """Every answered request is in its hour's count, and no more than was sent."""
        promises = self._promises
        answered = open_ones = 0
        for number, sent in promises.sent.items():
            if sent.project != project or number in promises.refused:
                continue
            stamp = promises.acknowledged.get(number)
            if stamp is None:
                open_ones += len(sent.events)
            elif Hour.of_micros(stamp) == hour:
                answered += len(sent.events)
        if not answered <= checked.record.accepted <= answered + open_ones:
            raise Broken(
                f"hour {hour} of {project} accepted {checked.record.accepted} events; "
                f"{answered} were answered and {open_ones} not"
            )

    def _check_events(self, lines: list[Line]) -> None:
        promises = self._promises
        counted = Counter(line.number for line in lines)
        doubled = [number for number, count in counted.items() if count > 1]
        if doubled:
            raise Broken(f"events {doubled} are in more than one line")
        if len({line.uuid for line in lines}) != len(lines):
            raise Broken("two lines have the same uuid")
        where = {line.number: line for line in lines}
        seen: set[int] = set()
        for number, sent in promises.sent.items():
            fresh = [event for event in sent.events if event not in seen]
            there = [event for event in fresh if event in where]
            if number in promises.acknowledged:
                hour = Hour.of_micros(promises.acknowledged[number])
                missing = [event for event in fresh if event not in where]
                if missing:
                    raise Broken(f"events {missing} of request {number} were answered and are gone")
                strayed = [event for event in fresh if where[event].hour != hour]
                if strayed:
                    raise Broken(f"events {strayed} of request {number} are not in hour {hour}")
                seen.update(fresh)
            elif number in promises.refused and there:
                raise Broken(f"request {number} was refused, and events {there} are exported")
            elif there and there != fresh:
                raise Broken(f"of request {number} only events {there} are exported")
        unknown = counted.keys() - {e for sent in promises.sent.values() for e in sent.events}
        if unknown:
            raise Broken(f"nobody sent events {sorted(unknown)}")


def _line_of(line: bytes, hour: Hour) -> Line:
    exported = _decoder.decode(line)
    properties = exported.event_properties
    return Line(properties.number, properties.request, hour, exported.uuid, exported.amplitude_id)


def _check_persons(lines: list[Line], merges: list[MergedId]) -> None:
    """Once merged IDs are joined, two events of one person have one id, and no others have it."""
    survivors = {merge.amplitude_id: merge.merged_amplitude_id for merge in merges}
    if len(survivors) != len(merges):
        raise Broken(f"ids are merged twice: {merges}")
    told = {line.number for line in lines if line.number % 3 == 1}
    ids: dict[str, int] = {}
    for line in lines:
        alone = line.number % 3 == 0 and line.number + 1 not in told
        person = f"tablet-{line.number}" if alone else f"user-{line.number // 3 % 5}"
        amplitude_id = survivors.get(line.amplitude_id, line.amplitude_id)
        if ids.setdefault(person, amplitude_id) != amplitude_id:
            raise Broken(f"{person} has the ids {ids[person]} and {amplitude_id}")
    if len(set(ids.values())) != len(ids):
        raise Broken(f"one id is of two persons: {ids}")


def _hour_of(key: str) -> Hour:
    date, _, hour = key.removesuffix(".json").rpartition("/")[2].partition("_")[2].rpartition("_")
    if not hour:
        raise Corrupt(f"{key} is no manifest's key")
    return Hour.parse(f"{date}T{int(hour):02d}")
