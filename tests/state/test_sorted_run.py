from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import Corrupt, NewerFormat
from tailrace.state import sorted_run
from tailrace.state.sorted_run import Layout, SortedRun, Wanted, merged, run_of_keys

# Keys whose first words are often the same, though those of a hash hardly ever are.
close_keys = st.builds(
    lambda high, low: high.to_bytes(8, "little") + low.to_bytes(8, "little"),
    st.integers(0, 3) | st.integers(2**64 - 3, 2**64 - 1) | st.integers(0, 2**64 - 1),
    st.integers(0, 9) | st.integers(0, 2**64 - 1),
)
stamps = st.integers(1, 2**53)


def find(run: SortedRun, keys: list[bytes]) -> dict[bytes, int]:
    wanted = Wanted.of(keys)
    newest = np.zeros(len(keys), dtype=np.int64)
    run.search(wanted, newest)
    return {
        keys[place]: int(stamp) for place, stamp in zip(wanted.order, newest, strict=True) if stamp
    }


def opened(known: dict[bytes, int]) -> SortedRun:
    return SortedRun.of_bytes(run_of_keys(list(known), list(known.values())))


def hashes(seed: int, count: int) -> dict[bytes, int]:
    chance = random.Random(seed)
    return {chance.randbytes(16): chance.randint(1, 2**53) for _ in range(count)}


@given(st.dictionaries(close_keys, stamps, min_size=1), st.lists(close_keys))
def test_a_run_knows_its_keys_and_no_others(known: dict[bytes, int], asked: list[bytes]) -> None:
    keys = list(dict.fromkeys([*asked, *known]))

    assert find(opened(known), keys) == known


@given(
    st.lists(st.dictionaries(close_keys, stamps, min_size=1), min_size=1, max_size=4),
    st.lists(close_keys),
    st.sampled_from((1, 2, 5, 1 << 17)),
)
def test_a_merge_of_runs_knows_the_newest_stamp_of_all_their_keys(
    parts: list[dict[bytes, int]], asked: list[bytes], slice_keys: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_run, "SLICE_KEYS", slice_keys)
        whole = SortedRun.of_bytes(b"".join(merged([opened(part) for part in parts])))
        again = SortedRun.of_bytes(b"".join(merged([whole])))
    expected: dict[bytes, int] = {}
    for part in parts:
        for key, stamp in part.items():
            expected[key] = max(stamp, expected.get(key, 0))
    keys = list(dict.fromkeys([*asked, *expected]))

    assert whole.keys == sum(map(len, parts))
    assert whole.first_stamp == min(min(part.values()) for part in parts)
    assert whole.last_stamp == max(max(part.values()) for part in parts)
    assert find(whole, keys) == expected
    assert find(again, keys) == find(whole, keys)


def test_many_keys_in_many_slices_are_found_and_few_others_pass_the_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_run, "SLICE_KEYS", 1 << 10)
    parts = [hashes(seed, 9_000) for seed in range(5)]
    path = tmp_path / "run.keys"
    path.write_bytes(b"".join(merged([opened(part) for part in parts])))
    run = SortedRun.open(path)
    known = {key: stamp for part in parts for key, stamp in part.items()}
    others = list(hashes(99, 20_000))

    assert run.layout == Layout.of(45_000)
    assert run.layout.slice_bits == 6
    assert find(run, [*known, *others]) == known
    looked_at: list[int] = []

    def count(self: SortedRun, high: int, low: int) -> int:
        looked_at.append(high)
        return find_one(self, high, low)

    find_one = SortedRun._find
    monkeypatch.setattr(SortedRun, "_find", count)
    find(run, others)
    assert len(looked_at) < len(others) * 0.015


def test_rows_of_a_run_lie_in_order() -> None:
    run = opened(hashes(1, 3_000))
    rows = run.rows(0)

    assert (rows[1:, 0] >= rows[:-1, 0]).all()
    assert len(rows) == 3_000


@pytest.mark.parametrize("cut", [0, 5, 8, 47, 48, 56, -8])
def test_a_run_that_is_cut_short_is_corrupt(tmp_path: Path, cut: int) -> None:
    body = run_of_keys(*zip(*hashes(1, 100).items(), strict=True))
    path = tmp_path / "run.keys"
    path.write_bytes(body[:cut])

    with pytest.raises(Corrupt, match=r"run\.keys"):
        SortedRun.open(path)


@pytest.mark.parametrize("at", [0, 9, 20, 33, 40, 50])
def test_a_header_that_was_changed_is_corrupt(at: int) -> None:
    body = bytearray(run_of_keys(*zip(*hashes(1, 100).items(), strict=True)))
    body[at] ^= 1

    with pytest.raises(Corrupt):
        SortedRun.of_bytes(bytes(body))


def test_a_run_that_is_gone_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=r"gone\.keys"):
        SortedRun.open(tmp_path / "gone.keys")


def test_a_run_of_a_newer_release_is_refused() -> None:
    body = bytearray(run_of_keys(*zip(*hashes(1, 100).items(), strict=True)))
    body[6] = 2

    with pytest.raises(NewerFormat, match="newer release"):
        SortedRun.of_bytes(bytes(body))


@given(st.integers(1, 2**33))
def test_a_layout_fits_its_keys(keys: int) -> None:
    layout = Layout.of(keys)
    each = keys / 2**layout.slice_bits

    assert each <= 1 << 17
    assert 2**layout.filter_bits * 64 >= each * 11
    assert each / 2**layout.fence_bits <= 128
    assert layout.slice_bits + max(layout.filter_bits, layout.fence_bits) < 64
    assert layout.slice_bits <= Layout.of(keys + 1).slice_bits
