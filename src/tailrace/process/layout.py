"""`Layout`: how the lines of an hour look by its settings; chosen once, when the hour opens.

By default `finish` is not even called, so that options cost nothing where nobody uses them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tailrace.process.render import ExtendedLine, Line
from tailrace.state.processing import HourSettings
from tailrace.upload import EMPTY_OBJECT, Plan, UploadEvent


class Layout(msgspec.Struct, frozen=True):
    """`line` is the kind of line, `schema` its `$schema`; `plain` lines need no `finish`."""

    line: type[Line]
    schema: msgspec.Raw
    plain: bool
    drop_ip: bool
    drop_location: bool
    keep_advertising_ids: bool

    def finish(
        self, lines: Sequence[Line], uuids: Sequence[str], events: Sequence[UploadEvent]
    ) -> None:
        """Take from the lines what is not to be exported, and add what the newer columns show.

        `uuids` and `events` are all of the portion, side by side; not each of them has a line.
        Called after the place of an address was looked up: that stays.
        """
        for line in lines:
            if self.drop_ip:
                line.ip_address = None
            if self.drop_location:
                line.location_lat = line.location_lng = None
        if self.line is ExtendedLine or self.keep_advertising_ids:
            of = dict(zip(uuids, events, strict=True))
            for line in lines:
                event = of[line.uuid]
                _extend(line, event)
                if self.keep_advertising_ids:
                    line.adid, line.idfa = event.adid, event.idfa


def layout_of(settings: HourSettings) -> Layout:
    """Return what an hour's settings make of its lines."""
    return Layout(
        line=ExtendedLine if settings.extended_columns else Line,
        schema=msgspec.Raw(msgspec.json.encode(settings.schema_number)),
        plain=not (
            settings.extended_columns
            or settings.drop_ip
            or settings.drop_location
            or settings.keep_advertising_ids
        ),
        drop_ip=settings.drop_ip,
        drop_location=settings.drop_location,
        keep_advertising_ids=settings.keep_advertising_ids,
    )


def _extend(line: Line, event: UploadEvent) -> None:
    if isinstance(line, ExtendedLine):
        line.partner_id = event.partner_id
        line.plan = EMPTY_OBJECT if event.plan is None else _shown(event.plan)


def _shown(plan: Plan) -> msgspec.Raw:
    """Return the plan's texts that are there; readers take an object, and nothing is "" (D40)."""
    texts = msgspec.to_builtins(plan)
    return msgspec.Raw(msgspec.json.encode({name: text for name, text in texts.items() if text}))
