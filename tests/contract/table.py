"""The table that `make sdks` prints: what each SDK sent by each transport, and where it went."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

PROPERTY = "sdk and transport"
_HEADS = ("SDK", "transport", "sent", "acknowledged", "exported", "identifies")


class Row(msgspec.Struct, frozen=True):
    """Distinct events that left an SDK; identifies are accounted for, and are no lines."""

    sdk: str
    transport: str
    sent: int
    acknowledged: int
    exported: int
    identifies: int

    def check(self) -> None:
        """Raise unless everything sent was acknowledged and accounted for once."""
        assert self.sent == self.acknowledged, self
        assert self.sent == self.exported + self.identifies, self


def text(rows: Iterable[Row]) -> list[str]:
    """Return the table's lines, each SDK's rows together."""
    cells = sorted(tuple(map(str, msgspec.structs.astuple(row))) for row in rows)
    widths = [max(map(len, column)) for column in zip(_HEADS, *cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (_HEADS, *cells)
    ]
