"""The times that all events of a record share; milliseconds, as they are printed (4.2)."""

from __future__ import annotations

import msgspec

from tailrace.log.record import Entry, Record
from tailrace.process.times import micros_text, millis_text, skew_shift


class RecordTimes(msgspec.Struct, frozen=True, gc=False):
    """When a record was uploaded, and what its events' own times are moved by."""

    upload_millis: int
    client_upload_millis: int
    shift: int
    received_text: str
    client_upload_text: str
    upload_text: str
    processed_text: str

    @classmethod
    def of(cls, entry: Entry, record: Record, now: int) -> RecordTimes:
        """Return the times of a record that is processed at `now`, in microseconds."""
        received = record.received_micros // 1000
        sent = record.client_upload_micros
        client_upload = received if sent is None else sent // 1000
        upload = entry.stamp // 1000
        return cls(
            upload,
            client_upload,
            skew_shift(received, client_upload),
            millis_text(received),
            millis_text(client_upload),
            millis_text(upload),
            micros_text(now),
        )
