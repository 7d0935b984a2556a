"""Defects of the product, put into a copy of its source, to see that the torture finds them.

`python -m torture.defects` tortures each with 10, then 30, then 100 kills, until it is found.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from torture.points import SOURCE
from torture.run import Options, Result, end_on_a_signal, torture

KILLS = (10, 30, 100)
RATE = 360
SECONDS_MAX = 240.0
REST_SECONDS = 90.0
FAULTS_SHOWN = 4
SHOWN_CHARACTERS = 70


class Defect(msgspec.Struct, frozen=True):
    """Texts of files of the package that are replaced by others; each occurs there once.

    `found` False is for what killed processes can't show, which the power cuts have to.
    """

    name: str
    what: str
    changes: tuple[tuple[str, str, str], ...]
    found: bool = True


DEFECTS = (
    Defect(
        "position-first",
        "the position in the log is committed before the pack and the rest",
        (
            (
                "process/checkpoint.py",
                "        chunks: list[ChunkRow] = []\n        rewritten: list[ChunkRow] = []\n"
                "        if any(",
                "        with self._store.checkpoint(self._epoch, changes.moves):\n"
                "            pass\n"
                "        chunks: list[ChunkRow] = []\n        rewritten: list[ChunkRow] = []\n"
                "        if any(",
            ),
            (
                "process/checkpoint.py",
                "self._store.checkpoint(self._epoch, changes.moves) as connection",
                "self._store.checkpoint(self._epoch, []) as connection",
            ),
        ),
    ),
    Defect(
        "dedupe-not-stored",
        "what was seen is kept in memory and not in the checkpoint",
        (
            ("process/dedupe.py", "            self._changed,\n", "            {},\n"),
            ("process/dedupe.py", "        self._changed.clear()\n", ""),
        ),
    ),
    Defect(
        "identity-not-stored",
        "the next amplitude id is not part of the checkpoint",
        (
            (
                "process/checkpoint.py",
                '            self._store.set_meta("next_amplitude_id", '
                "state.identity.next_amplitude_id)\n",
                "",
            ),
        ),
    ),
    Defect(
        "pack-name-reused",
        "the name of a pack does not hold the processor's epoch",
        (
            (
                "process/checkpoint.py",
                "pack_name(self._epoch, self._packs + 1)",
                "pack_name(1, self._packs + 1)",
            ),
        ),
    ),
    Defect(
        "packs-removed-first",
        "packs are removed before the file made of them is committed",
        (
            (
                "seal/closer.py",
                "        with self._store.owned_transaction(self._epoch) as connection:\n"
                "            for plan, file in made:\n",
                "        for pack in sorted({c.pack for plan, _ in made for c in plan.chunks}):\n"
                "            self._archive.remove_pack(pack)\n"
                "        with self._store.owned_transaction(self._epoch) as connection:\n"
                "            for plan, file in made:\n",
            ),
        ),
    ),
    Defect(
        "hour-not-waited-for",
        "an hour is sealed when one of the collectors has left it",
        (
            (
                "app/processor.py",
                "        return self._reader.partitions(reached)\n",
                "        return [1]\n",
            ),
        ),
    ),
    Defect(
        "marked-before-handed-over",
        "an hour is marked as handed over before the ledger has it",
        (
            (
                "seal/handing.py",
                "            self._ledger.add_hours(hours)\n"
                '            killpoints.reached("seal.handed_over")\n',
                "",
            ),
            (
                "seal/handing.py",
                "[file for sealed in hours for file in sealed.files])\n"
                '            killpoints.reached("seal.cleared")\n',
                "[file for sealed in hours for file in sealed.files])\n"
                '            killpoints.reached("seal.handed_over")\n'
                "            self._ledger.add_hours(hours)\n"
                '            killpoints.reached("seal.cleared")\n',
            ),
        ),
    ),
    Defect(
        "handed-over-uncommitted",
        "a file is handed over before its row is committed, so it may be made again",
        (
            (
                "seal/closer.py",
                "        with self._store.owned_transaction(self._epoch) as connection:\n"
                "            for plan, file in made:\n",
                "        for plan, file in made:\n"
                "            if not isinstance(file, Damaged):\n"
                "                self._handing._ledger.add_files([file], plan.organization)\n"
                "        with self._store.owned_transaction(self._epoch) as connection:\n"
                "            for plan, file in made:\n",
            ),
        ),
    ),
    Defect(
        "marker-before-last-file",
        "manifest and marker are put before the files that are left",
        (
            (
                "export/deliver.py",
                "        for file in left:\n            self._put_file",
                "        if sealed is not None:\n"
                "            self._conclude(sealed)\n"
                "        for file in left:\n            self._put_file",
            ),
        ),
    ),
    Defect(
        "marker-before-manifest",
        "the marker is put before the manifest",
        (
            (
                "export/deliver.py",
                "        if self._destination.manifest:\n",
                "        self._put_bytes(\n"
                "            self._layout.marker_key(self._prefix, scope, hour), b'',\n"
                "            'application/octet-stream',\n"
                "        )\n"
                "        if self._destination.manifest:\n",
            ),
        ),
    ),
    Defect(
        "put-unconditionally",
        "an object is put whether it is there or not",
        (("export/bucket.py", '        options["IfNoneMatch"] = "*"\n', "        pass\n"),),
    ),
    Defect(
        "runs-not-derived",
        "an hour that is handed over owes nothing to paused or new destinations",
        (
            (
                "state/destination_book.py",
                "        derive(connection, now_micros=self.clock.now_micros(), "
                "destination_id=destination_id)\n",
                "        pass\n",
            ),
        ),
    ),
    Defect(
        "answered-unwritten",
        "200 is answered while the record still waits to be written",
        (
            (
                "collect/server.py",
                "            stamp_micros = await self._append(record)\n",
                "            asyncio.ensure_future(self._append(record))\n"
                "            stamp_micros = self._clock.now_micros()\n",
            ),
        ),
    ),
    Defect(
        "recovery-cuts-the-last-group",
        "recovery cuts what was not published, also if it was answered",
        (
            (
                "log/tail.py",
                "            self._end_file.publish(batch.end)\n",
                "            self._end_file.publish(self.end)\n",
            ),
        ),
    ),
    Defect(
        "move-gives-up",
        "a destination that moves gives up the hours that it owes",
        (
            (
                "state/editing.py",
                "                state=sa.case(\n"
                '                    (delivery.c.state.in_(("pending", "running")), "pending"), '
                'else_="retrying"\n                ),\n                due_micros=0,\n',
                '                state="cancelled",\n                due_micros=None,\n',
            ),
        ),
    ),
    Defect(
        "lease-not-checked",
        "a worker that lost its lease goes on",
        (
            (
                "state/deliveries.py",
                ".where(of_run(held), delivery.c.lease == held.lease, "
                'delivery.c.state == "running")\n        .values(**values)',
                ".where(of_run(held)).values(**values)",
            ),
        ),
        # What it puts is the same, and only if absent.
        found=False,
    ),
    Defect(
        "log-not-synced",
        "a group is answered without a sync",
        (
            (
                "log/tail.py",
                "            file.sync_data()\n            # Whoever",
                "            # Whoever",
            ),
        ),
        found=False,
    ),
)


def broken_source(defect: Defect, folder: Path) -> Path:
    """Copy the source into a folder with the defect; raise `ValueError` where it has no place."""
    source = folder / "src"
    shutil.copytree(SOURCE, source / "tailrace", ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in defect.changes:
        path = source / "tailrace" / name
        text = path.read_text(encoding="utf-8")
        if text.count(before) != 1:
            raise ValueError(f"{defect.name}: {name} holds {text.count(before)} times: {before!r}")
        path.write_text(text.replace(before, after), encoding="utf-8")
    return source


def main() -> None:
    """Torture every defect, or those that are named; exit with 1 if one is not found."""
    parser = argparse.ArgumentParser(prog="python -m torture.defects", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *(d.name for d in DEFECTS)])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, nargs="+", default=KILLS, help="one run with each")
    given = parser.parse_args()
    end_on_a_signal()
    missed = []
    for defect in DEFECTS:
        if given.names and defect.name not in given.names:
            continue
        result = _found_by(defect, given.seed, given.kills)
        is_found = bool(result.faults)
        if is_found != defect.found:
            missed.append(defect.name)
        faults = [fault[:SHOWN_CHARACTERS] for fault in result.faults[:FAULTS_SHOWN]]
        what = " | ".join(faults) or "nothing was found"
        print(f"{defect.name:<30} {result.kills:>4} kills  {what}", flush=True)
    sys.exit(1 if missed else 0)


def _found_by(defect: Defect, seed: int, goals: Sequence[int]) -> Result:
    with tempfile.TemporaryDirectory(prefix="torture-defect-") as folder:
        source = broken_source(defect, Path(folder))
        for kills in goals:
            options = Options(
                kills=kills,
                seed=seed,
                rate=RATE,
                seconds_max=SECONDS_MAX,
                rest_seconds=REST_SECONDS,
                births=0,
                source=source,
            )
            result = torture(options, _tell)
            if result.faults:
                break
    return result


def _tell(line: str) -> None:
    print(f"  {time.monotonic():.0f} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
