"""A round: what the processor takes next from all partitions, in one order.

**Why this order is right.** A record B that a client sends after another record A was answered
with 200 must be processed after A, whichever collectors took them.

1. A is published in its partition's end before its 200, so before B is sent. B's writer reads all
   ends before it stamps B. So B's stamp is greater than A's, and within one round the order by
   (stamp, partition) is right.
2. Over rounds: could a round hold B but not A? It takes the time t first and reads the ends that
   bound it after that. If A was published when t was taken, A is within those ends, and A's stamp
   is below B's, so A is in this round or an earlier one. If A was not, B was not even sent, so B
   is stamped later than t was taken and has a stamp above t: if t is the clock, because no stamp
   lies below the clock; if t is the smallest of the ends' stamps, because a partition's stamps
   only grow. So B is in no such round. Both readings of t hold, and the greater one is taken: the
   clock, so that a silent partition delays nobody; the ends, so that a clock that was set back
   delays nobody whose partitions all go on.
3. The clock could be set back between taking t and the last end, which is the one gap in 2. It is
   read again after the ends, and if it went back, only the ends count.
4. A partition whose entries did not fit ends the round at its last stamp for all others: what they
   have above it comes with the next round.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tailrace.clock import Clock
from tailrace.log.end import NOTHING, End
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry

# However many partitions share a round's bytes, each block read is worth its system call.
_SHARE_BYTES_MIN = 64 * 1024


class Round(msgspec.Struct, frozen=True):
    """Entries of all partitions ordered by (stamp, partition), none stamped after `time`.

    `complete` says that nothing more up to `time` was durable when the round was read.
    """

    entries: list[Entry]
    time: int
    complete: bool


def read_round(
    reader: LogReader, positions: Mapping[int, int], clock: Clock, limit_bytes: int
) -> Round:
    """Return the next round after the positions reached (by partition; 0 or absent for none).

    About `limit_bytes` of the log are read, at least one entry of each partition that has any.
    """
    time = clock.now_micros()
    floor = _lowest_stamp(reader)
    ends = reader.durable_ends()
    if clock.now_micros() < time:
        time = 0
    time = max(time, floor)

    waiting = {p: end for p, end in ends.items() if positions.get(p, 0) < end.position}
    share = max(limit_bytes // max(1, len(waiting)), _SHARE_BYTES_MIN)
    merged: list[Entry] = []
    bound = time
    complete = True
    for partition, end in waiting.items():
        entries = _read(reader, partition, positions.get(partition, 0), end, share)
        if not entries:
            continue
        last = entries[-1]
        if last.next_position < end.position and last.stamp < bound:
            bound, complete = last.stamp, False
        merged += entries
    if len(waiting) > 1:
        merged.sort(key=_order)
    if merged and merged[-1].stamp > bound:
        merged = [entry for entry in merged if entry.stamp <= bound]
    return Round(merged, time, complete)


def _lowest_stamp(reader: LogReader) -> int:
    """Return the smallest stamp among the ends of the partitions that may still grow."""
    ends = reader.durable_ends()
    growing = [listed.id for listed in reader.listed() if listed.retired is None]
    return min((ends.get(partition, NOTHING).stamp for partition in growing), default=0)


def _read(
    reader: LogReader, partition: int, position: int, end: End, share_bytes: int
) -> list[Entry]:
    """Read entries until the share is used up or the end is reached, over segment boundaries."""
    taken: list[Entry] = []
    first = position
    while position < end.position and position - first < share_bytes:
        entries = reader.read_until(partition, position, end, share_bytes)
        if not entries:
            break
        taken += entries
        position = entries[-1].next_position
    return taken


def _order(entry: Entry) -> tuple[int, int]:
    return entry.stamp, entry.partition
