"""Read a bucket's keys of one scope in the order of their dates, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator

from tailrace.export.objects import Store


class DatedListing:
    """The objects below a prefix that ends just before a date, from a date on.

    S3 lists keys in the order of their bytes, and dates as text have the order of time; so one
    pass reads a year with a request for each thousand objects, and holds one page.
    """

    def __init__(self, store: Store, before_date: str, first: str) -> None:
        self._before_date = before_date
        self._objects = _objects(store, before_date, first)
        self._next: tuple[str, int] | None = next(self._objects, None)

    def of(self, date: str) -> Iterator[tuple[str, int]]:
        """Yield key and size of a date's objects; ask for dates in their order."""
        begin = len(self._before_date)
        while self._next is not None:
            key, size = self._next
            found = key[begin : begin + len(date)]
            if found > date:
                return
            self._next = next(self._objects, None)
            if found == date:
                yield key, size


def _objects(store: Store, before_date: str, first: str) -> Iterator[tuple[str, int]]:
    pages = store.client.get_paginator("list_objects_v2").paginate(
        Bucket=store.bucket, Prefix=before_date, StartAfter=before_date + first
    )
    for page in pages:
        for one in page.get("Contents", []):
            yield one["Key"], one["Size"]
