"""The model of a disk under the power cuts: what a sync covers, and what a cut may take."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from powercut.calls import Call, read_calls
from powercut.cuts import NOTHING, cuts
from powercut.disk import Image
from powercut.replay import Replay

ROOT = "/r"


def quoted(data: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def path(name: str) -> str:
    return quoted(f"{ROOT}/{name}".encode())


def call(
    name: str, *arguments: str, at: int, until: int | None = None, result: int = 0, thread: int = 1
) -> Call:
    """Return a call that was on its way from line `at` to line `until` of a log."""
    return Call(str(thread), name, arguments, result, at, at if until is None else until)


def opened(name: str, descriptor: int, *, at: int) -> Call:
    flags = "O_WRONLY|O_CREAT|O_APPEND"
    return call("openat", "AT_FDCWD", path(name), flags, "0640", at=at, result=descriptor)


def opened_root(descriptor: int, *, at: int) -> Call:
    return call("openat", "AT_FDCWD", quoted(b"/r"), "O_RDONLY", at=at, result=descriptor)


def written(descriptor: int, data: bytes, *, at: int) -> Call:
    arguments = (str(descriptor), quoted(data), str(len(data)))
    return call("write", *arguments, at=at, result=len(data))


def synced(descriptor: int, *, at: int, until: int | None = None, thread: int = 1) -> Call:
    return call("fdatasync", str(descriptor), at=at, until=until, thread=thread)


def left_by(*calls: Call) -> dict[str, Image]:
    """Return what each cut after the last of some calls leaves, by its name."""
    replay = Replay(Path(ROOT), Path("/marks"))
    for _ in replay.run(sorted(calls, key=lambda one: one.ended)):
        pass
    return {cut.name: cut.image for cut in cuts(replay.disk, random.Random(1))}


def contents(image: Image) -> dict[str, bytes]:
    return {name: blob.data for name, blob in image.items() if blob is not None}


NAMED = (opened("a", 3, at=1), opened_root(4, at=2), synced(4, at=3))


def test_what_was_never_synced_is_lost() -> None:
    left = left_by(opened("a", 3, at=1), written(3, b"one", at=2))
    assert contents(left[NOTHING]) == {}
    assert contents(left["all kept"]) == {"a": b"one"}
    assert contents(left["entries kept, data lost"]) == {"a": b""}
    assert contents(left["entries kept, data zero"]) == {"a": b"\0\0\0"}


def test_a_sync_of_a_file_says_nothing_of_its_name() -> None:
    left = left_by(opened("a", 3, at=1), written(3, b"one", at=2), synced(3, at=3))
    assert contents(left[NOTHING]) == {}


def test_a_sync_of_a_folder_says_nothing_of_its_files() -> None:
    left = left_by(*NAMED, written(3, b"one", at=4), synced(4, at=5))
    assert contents(left[NOTHING]) == {"a": b""}


def test_both_together_are_durable() -> None:
    left = left_by(*NAMED, written(3, b"one", at=4), synced(3, at=5))
    assert contents(left[NOTHING]) == {"a": b"one"}


def test_a_sync_covers_only_what_was_written_before_it_began() -> None:
    left = left_by(
        *NAMED, written(3, b"one", at=4), synced(3, at=5, until=7), written(3, b"two", at=6)
    )
    assert contents(left[NOTHING]) == {"a": b"one"}


@pytest.mark.parametrize(("first", "second"), [((5, 9), (8, 10)), ((5, 10), (8, 9))])
def test_two_syncs_at_once_cover_no_more_than_the_later_one_began_with(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    left = left_by(
        *NAMED,
        written(3, b"one", at=4),
        synced(3, at=first[0], until=first[1], thread=1),
        written(3, b"two", at=6),
        synced(3, at=second[0], until=second[1], thread=2),
        written(3, b"late", at=8),
        written(3, b"later", at=8),
    )
    assert contents(left[NOTHING]) == {"a": b"onetwo"}


def test_a_rename_is_old_or_new_until_its_folder_is_synced() -> None:
    renamed = call("rename", path("a"), path("b"), at=4)
    left = left_by(*NAMED, renamed)
    assert contents(left[NOTHING]) == {"a": b""}
    assert contents(left["all kept"]) == {"b": b""}
    assert all(len(image) == 1 for image in left.values())
    assert contents(left_by(*NAMED, renamed, synced(4, at=5))[NOTHING]) == {"b": b""}


def test_one_entry_may_be_lost_while_a_later_one_came() -> None:
    left = left_by(opened("a", 3, at=1), opened("b", 4, at=2), opened("c", 5, at=3))
    found = {frozenset(image) for image in left.values()}
    assert {frozenset("bc"), frozenset("ac"), frozenset("a"), frozenset("ab")} <= found


def test_a_write_that_is_torn_stops_at_any_byte() -> None:
    left: set[bytes] = set()
    for seed in range(200):
        replay = Replay(Path(ROOT), Path("/marks"))
        for _ in replay.run([*NAMED, written(3, b"abcd", at=4)]):
            pass
        images = [cut.image for cut in cuts(replay.disk, random.Random(seed))]
        left |= {contents(image)["a"] for image in images}
    assert {b"", b"a", b"ab", b"abc", b"abcd", b"\0\0\0\0"} <= left


def test_a_call_that_the_model_does_not_know_is_no_silence() -> None:
    replay = Replay(Path(ROOT), Path("/marks"))
    with pytest.raises(ValueError, match="does not know link"):
        list(replay.run([*NAMED, call("link", path("a"), path("b"), at=4)]))
    replay = Replay(Path(ROOT), Path("/marks"))
    with pytest.raises(ValueError, match="does not know fallocate"):
        list(replay.run([*NAMED, call("fallocate", "3", "0", "0", "10", at=4)]))


def test_a_descriptor_that_two_threads_get_one_after_the_other_is_synced_for_each(
    tmp_path: Path,
) -> None:
    # A thread's close frees the number, which another gets before strace sees the close return.
    log = tmp_path / "log"
    log.write_text(
        f"""1 openat(AT_FDCWD, {path("a")}, O_WRONLY|O_CREAT, 0640) = 5
1 openat(AT_FDCWD, {quoted(ROOT.encode())}, O_RDONLY) = 4
1 fsync(4) = 0
1 write(5, {quoted(b"one")}, 3) = 3
1 close(4 <unfinished ...>
2 openat(AT_FDCWD, {path("a")}, O_WRONLY|O_APPEND <unfinished ...>
2 <... openat resumed>) = 4
1 <... close resumed>) = 0
2 fsync(4 <unfinished ...>
1 close(5) = 0
2 <... fsync resumed>) = 0
"""
    )
    calls = list(read_calls(log))

    assert [one.name for one in calls].count("close") == 2
    assert contents(left_by(*calls)[NOTHING]) == {"a": b"one"}
