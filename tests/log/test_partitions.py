from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tailrace.errors import BadRequest, Corrupt, NewerFormat
from tailrace.files import Files
from tailrace.log.end import End, EndFile
from tailrace.log.partitions import (
    PARTITIONS_FILE,
    Partition,
    PartitionRetired,
    Siblings,
    list_partitions,
    mark_retired,
    partition_folder,
    register_partition,
    usable_partitions,
)


def publish(log_folder: Path, partition: int, stamp: int) -> None:
    folder = partition_folder(log_folder, partition)
    folder.mkdir(parents=True, exist_ok=True)
    file = EndFile(folder)
    file.publish(End(10, stamp))
    file.close()


def test_no_list_means_no_partition(log_folder: Path) -> None:
    assert list_partitions(log_folder) == []


def test_collectors_write_under_the_lowest_numbers_that_are_not_retired(log_folder: Path) -> None:
    assert usable_partitions(log_folder, 2) == [1, 2]
    for partition in (1, 2, 3, 4):
        register_partition(log_folder, partition, Files())
    assert usable_partitions(log_folder, 2) == [1, 2]
    mark_retired(log_folder, 2, End(10, 20), Files())
    mark_retired(log_folder, 4, End(10, 20), Files())
    assert usable_partitions(log_folder, 1) == [1]
    assert usable_partitions(log_folder, 3) == [1, 3, 5]


def test_partitions_are_listed_once_and_in_order(log_folder: Path) -> None:
    for partition in (3, 1, 3, 2):
        register_partition(log_folder, partition, Files())
    assert list_partitions(log_folder) == [Partition(1), Partition(2), Partition(3)]


def test_partitions_that_register_at_once_are_all_listed(log_folder: Path) -> None:
    threads = [
        threading.Thread(target=register_partition, args=(log_folder, number, Files()))
        for number in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [listed.id for listed in list_partitions(log_folder)] == list(range(1, 21))


def test_a_retired_partition_stays_listed_and_never_comes_back(log_folder: Path) -> None:
    register_partition(log_folder, 1, Files())
    mark_retired(log_folder, 1, End(5, 6), Files())
    assert list_partitions(log_folder) == [Partition(1, End(5, 6))]
    with pytest.raises(PartitionRetired, match="never used"):
        register_partition(log_folder, 1, Files())


def test_partitions_are_numbered_from_one(log_folder: Path) -> None:
    with pytest.raises(BadRequest, match="from 1"):
        register_partition(log_folder, 0, Files())


def test_a_damaged_list_is_named(log_folder: Path) -> None:
    register_partition(log_folder, 1, Files())
    (log_folder / PARTITIONS_FILE).write_bytes(b'{"version":1,')
    with pytest.raises(Corrupt, match=PARTITIONS_FILE):
        list_partitions(log_folder)


def test_a_list_of_a_newer_release_is_refused(log_folder: Path) -> None:
    register_partition(log_folder, 1, Files())
    (log_folder / PARTITIONS_FILE).write_bytes(b'{"version":2,"partitions":[]}')
    with pytest.raises(NewerFormat):
        list_partitions(log_folder)


def test_siblings_are_all_others_and_new_ones_are_noticed(log_folder: Path) -> None:
    register_partition(log_folder, 1, Files())
    publish(log_folder, 1, 900)
    siblings = Siblings(log_folder, 1)
    seen = [siblings.highest_stamp()]
    register_partition(log_folder, 2, Files())
    register_partition(log_folder, 3, Files())
    publish(log_folder, 2, 50)
    publish(log_folder, 3, 40)
    seen.append(siblings.highest_stamp())
    publish(log_folder, 3, 60)
    seen.append(siblings.highest_stamp())
    assert seen == [0, 50, 60]
