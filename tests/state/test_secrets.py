"""Secrets are readable with the key file only, and the key file by its owner only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import Corrupt, NeedsOperator
from tailrace.files import Files
from tailrace.ids import SystemIds
from tailrace.state.secrets import Secrets


def _open(path: Path) -> Secrets:
    return Secrets.open(path, Files(), SystemIds())


def test_a_new_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    _open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_encrypted_is_read_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    token = _open(path).encrypt("wJalrXUtnFEMI")
    assert b"wJalr" not in token
    assert _open(path).decrypt(token) == "wJalrXUtnFEMI"


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    token = _open(tmp_path / "one.key").encrypt("x")
    with pytest.raises(Corrupt, match="same backup"):
        _open(tmp_path / "two.key").decrypt(token)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_a_key_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets.key"
    _open(path)
    path.chmod(mode)
    with pytest.raises(NeedsOperator, match="chmod 600"):
        _open(path)


@pytest.mark.parametrize("content", [b"", b"short", b"A" * 80, b"\xff" * 44])
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secrets.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(NeedsOperator, match="base64"):
        _open(path)
    assert path.read_bytes() == content


def test_the_key_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    secrets = _open(path)
    key = path.read_text().strip()
    assert key not in repr(secrets)
    assert key not in str(vars(secrets))


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    secrets = Secrets(b"A" * 43 + b"=")
    assert secrets.decrypt(secrets.encrypt(text)) == text
