"""Who is who: in all that an organization exported a person has one id, once merged IDs are joined.

A tablet is nobody's first; a later event of the same request tells whose it is. So which ids must
be one follows from the lines, and the merged-ID files have to say no more and no less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tailrace.hours import Hour
from torture.landed import Found, FoundMerge
from torture.load import TABLET
from torture.proof import Faults, Sums


def prove_persons(
    organization: int, found: Iterable[Found], merged: Iterable[FoundMerge], sums: Sums
) -> list[str]:
    """Return every way in which the ids in all lines of an organization are not its persons'."""
    faults = Faults()
    merges = list(merged)
    faults.tell(_wrong_merges(organization, merges))
    survivors = {one.merge.amplitude_id: one.merge.merged_amplitude_id for one in merges}
    faults.tell(_wrong_persons(list(found), survivors))
    sums.merges += len(merges)
    return faults.told()


def _wrong_merges(organization: int, merges: list[FoundMerge]) -> Iterator[tuple[str, str]]:
    losers: set[int] = set()
    stays = {one.merge.merged_amplitude_id for one in merges}
    for one in merges:
        merge = one.merge
        if merge.scope != -organization:
            yield "merge of another organization", repr(one)
        if Hour.of_micros(merge.merge_server_time * 1000) != one.hour:
            yield "merge in another hour than its merge_server_time", repr(one)
        if merge.amplitude_id in losers:
            yield "id merged twice", repr(one)
        if merge.amplitude_id in stays:
            yield "id merged though others were merged into it", repr(one)
        losers.add(merge.amplitude_id)


def _wrong_persons(lines: list[Found], survivors: dict[int, int]) -> Iterator[tuple[str, str]]:
    owners = {
        one.line.device_id: one.line.user_id
        for one in lines
        if one.line.user_id and one.line.device_id.startswith(TABLET)
    }
    ids: dict[tuple[str | None, str], int] = {}
    for one in lines:
        line = one.line
        user = line.user_id or owners.get(line.device_id)
        person = (user, "") if user else (None, line.device_id)
        amplitude_id = survivors.get(line.amplitude_id, line.amplitude_id)
        if ids.setdefault(person, amplitude_id) != amplitude_id:
            yield "two amplitude ids of one person", f"{person}: {ids[person]}, {amplitude_id}"
    if len(set(ids.values())) != len(ids):
        yield "one amplitude id of two persons", f"{len(set(ids.values()))} of {len(ids)}"
