"""What `serve` does before its parts run."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from tailrace.app.listening import Address, bind
from tailrace.app.serve import _bind_once_left, _prepare, _wait_for_former_parts
from tailrace.errors import InUse, NeedsOperator
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.log.partitions import partition_folder


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    return folder


@pytest.mark.parametrize("name", ["processing.lock", "exporter.lock", "log/2/lock"])
def test_a_part_of_a_killed_service_is_waited_for_but_not_for_ever(
    folder: DataFolder, name: str
) -> None:
    files = Files()
    files.make_folder(partition_folder(folder.log, 2))
    held = files.lock(folder.path / name, "a part")
    with pytest.raises(InUse, match=name):
        _wait_for_former_parts(folder, [1, 2], files, seconds=0)

    ending = threading.Timer(0.3, held.release)
    ending.start()
    _wait_for_former_parts(folder, [1, 2], files, seconds=20)
    ending.join()
    files.lock(folder.path / name, "a part").release()


def test_a_start_refuses_a_log_that_was_copied_back(folder: DataFolder, tmp_path: Path) -> None:
    _prepare(folder, None, Files())
    shutil.copytree(folder.log, tmp_path / "older")
    _prepare(folder, None, Files())
    shutil.rmtree(folder.log)
    shutil.copytree(tmp_path / "older", folder.log)
    with pytest.raises(NeedsOperator, match="of different age"):
        _prepare(folder, None, Files())


def test_a_start_without_room_draws_no_age(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _prepare(folder, None, Files())
    before = (folder.log / "age.json").read_bytes()
    monkeypatch.setattr(Files, "free_bytes", lambda *_: 0)
    _prepare(folder, None, Files())
    assert (folder.log / "age.json").read_bytes() == before


def test_a_port_that_a_killed_service_left_to_a_starting_part_is_waited_for(
    folder: DataFolder,
) -> None:
    (folder.run / "serve.json").write_text("{}")
    part = bind(Address("127.0.0.1", 0), "--listen")
    address = Address("127.0.0.1", part.getsockname()[1])
    leaving = threading.Timer(0.05, part.close)
    leaving.start()
    _bind_once_left(address, folder).close()
    leaving.join()


def test_a_port_that_a_stranger_has_is_not_waited_for(folder: DataFolder) -> None:
    with bind(Address("127.0.0.1", 0), "--listen") as stranger:
        address = Address("127.0.0.1", stranger.getsockname()[1])
        with pytest.raises(NeedsOperator, match="in use"):
            _bind_once_left(address, folder)
