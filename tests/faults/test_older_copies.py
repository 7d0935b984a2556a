"""Parts of an older data folder among newer ones, in every combination, and a whole older one.

Log, processing database and ledger of different age are refused. What is left is harmless, or is
shown to a person; nothing in a bucket is replaced, and nothing is missing without a word.
"""

from __future__ import annotations

import itertools
import os
import shutil
from itertools import count
from pathlib import Path

import msgspec
import pytest

from tailrace.clock import MICROS
from tailrace.errors import Corrupt, NeedsOperator
from tailrace.state.processing_view import ProcessingView
from tests.faults.bucket import Bucket, prove
from tests.faults.life import Life, shrink
from tests.faults.story import begin, end_hour, pass_seconds, post, settle

LONG = os.environ.get("TAILRACE_LONG") == "1"
AGED = ("log", "processing.sqlite", "tailrace.sqlite")
PARTS = (*AGED, "packs", "archive")
COMBINATIONS = [c for n in range(1, 6) for c in itertools.combinations(PARTS, n)]
# Sorted runs of dedupe keys, which the processing database names: copied with it.
KEYS = "processing-keys"
SINCE = ("appended", "checkpoint", "early file", "sealed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""Each combination is a life of its own."""

# What comes of combinations whose log and databases are of one age, by what happened since the
# copy was made. An alarm says which pack is gone; a conflict names the object.
ALL = "log+processing.sqlite+tailrace.sqlite"
OUTCOMES = {
    "appended": {},
    "checkpoint": {"packs": "alarm", "packs+archive": "alarm"},
    "early file": {
        ALL: "alarm",
        f"{ALL}+archive": "alarm",
        f"{ALL}+packs": "conflict",
        f"{ALL}+packs+archive": "conflict",
    },
    "sealed": {
        "packs": "alarm",
        "packs+archive": "alarm",
        ALL: "alarm",
        f"{ALL}+archive": "alarm",
        f"{ALL}+packs": "conflict",
        f"{ALL}+packs+archive": "conflict",
    },
}


class Seen(msgspec.Struct, frozen=True):
    """What a person sees after a start on the mixed folder."""

    shown: str
    proven: bool


@pytest.mark.parametrize("since", SINCE if LONG else ("sealed",))
def test_older_parts_are_refused_harmless_or_shown(since: str, memory: Path) -> None:
    shrink()
    # The folder in memory is shared by all of this module.
    source = memory / since.replace(" ", "-")
    source.mkdir()
    life = make_copy(source, since)
    for older in COMBINATIONS:
        folder = source / "mixed"
        shutil.rmtree(folder, ignore_errors=True)
        mixed = mix(source, folder, older, life)
        name = "+".join(older)
        if len(set(older) & set(AGED)) not in (0, len(AGED)):
            with pytest.raises(NeedsOperator, match="are of different age"):
                mixed.start()
            continue
        seen = go_on(mixed)
        wanted = OUTCOMES[since].get(name, "nothing")
        assert seen.shown == wanted, name
        # A whole older folder knows nothing of what came later; that is what a backup is.
        if wanted == "nothing" and not set(older) >= set(AGED):
            assert seen.proven, name


@pytest.mark.parametrize("left", ["older", "none"])
def test_other_dedupe_keys_than_the_database_names_are_refused(left: str, memory: Path) -> None:
    shrink()
    source = memory / f"keys-{left}"
    source.mkdir()
    life = make_copy(source, "sealed")
    assert [*(source / "data" / KEYS).iterdir()] != []
    mixed = mix(source, source / "mixed", (KEYS,), life)
    if left == "none":
        shutil.rmtree(mixed.folder.path / KEYS)
    before = mixed.bucket.objects()
    mixed.start()
    mixed.process()
    mixed.deliver()
    (failure,) = mixed.failures
    assert isinstance(failure.error, Corrupt)
    assert "Restore the data folder from a backup." in str(failure.error)
    assert mixed.bucket.objects() == before
    mixed.end()


def make_copy(folder: Path, since: str) -> Life:
    """Live for an hour and more, copy the folder as it is while stopped, and live on."""
    life = Life(folder / "data", Bucket(folder / "bucket"))
    begin(life)
    requests = count()
    post(life, requests, 4)
    checkpoint(life)
    end_hour(life)
    post(life, requests, 3)
    checkpoint(life)
    life.end()
    shutil.copytree(folder / "data", folder / "old")

    life.start()
    post(life, requests, 12 if since == "early file" else 3)
    if since != "appended":
        checkpoint(life)
    if since == "early file":
        checkpoint(life)
    if since == "sealed":
        end_hour(life)
        post(life, requests, 3)
        checkpoint(life)
    life.end()
    assert not life.failures
    return life


def checkpoint(life: Life) -> None:
    """Process and commit what there is."""
    life.process()
    pass_seconds(life, 31)
    life.process()
    life.deliver()


def mix(source: Path, folder: Path, older: tuple[str, ...], life: Life) -> Life:
    """Return a life on the newer folder with older parts, and on the bucket as it is."""
    shutil.copytree(source / "data", folder / "data")
    shutil.copytree(source / "bucket", folder / "bucket")
    wanted = (*older, KEYS) if "processing.sqlite" in older else older
    for part in wanted:
        for path in (folder / "data").glob(f"{part}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (source / "old").glob(f"{part}*"):
            target = folder / "data" / path.name
            shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)
    mixed = Life(folder / "data", Bucket(folder / "bucket"), life.clock.now_micros() + MICROS)
    mixed.answers.acknowledged = set(life.answers.acknowledged)
    return mixed


def go_on(life: Life) -> Seen:
    """Start on the folder and go on for an hour; nothing may be replaced or fail unseen."""
    before = life.bucket.objects()
    life.start()
    shown = "nothing"
    try:
        settle(life)
    except AssertionError:
        # It waits for a person, who must see why.
        alarms = list(ProcessingView(life.folder.processing_database).alarms())
        states = {run.state for run in life.ledger().runs() if run.sealed} - {"success"}
        shown = "alarm" if alarms else "+".join(sorted(states))
        assert all("it is gone" in alarm.sentence for alarm in alarms)
    life.end()
    assert not life.failures, life.failures
    after = life.bucket.objects()
    assert {key: after.get(key) for key in before} == before
    if shown != "nothing":
        return Seen(shown, proven=False)
    try:
        prove(after, life.answers)
    except AssertionError:
        return Seen(shown, proven=False)
    return Seen(shown, proven=True)
