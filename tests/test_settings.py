"""Settings: file, environment, origins, and the sentences for bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.errors import BadSetting
from tailrace.settings import Settings, load


def _write(folder: Path, text: str) -> None:
    (folder / "tailrace.toml").write_text(text)


def test_every_setting_has_a_meaning_and_a_default(tmp_path: Path) -> None:
    listing = load(tmp_path, {}).listing
    assert all(setting.meaning for setting in listing)
    assert {setting.origin for setting in listing} == {"default"}
    keys = {setting.key for setting in listing}
    assert {
        "public_url",
        "trusted_proxies",
        "aws.principal_arn",
        "smtp.host",
        "seal.partition_bytes",
        "disk.first_bytes",
        "log.keep_hours",
        "archive.keep_days",
    } <= keys


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    _write(tmp_path, "[seal]\npartition_bytes = 4096\n[log]\nkeep_hours = 5\n")
    loaded = load(tmp_path, {"TAILRACE_SEAL_PARTITION_BYTES": "8192", "HOME": "/root"})
    assert loaded.settings.seal.partition_bytes == 8192
    assert loaded.settings.log.keep_hours == 5
    origins = {setting.key: setting.origin for setting in loaded.listing}
    assert origins["seal.partition_bytes"] == "environment TAILRACE_SEAL_PARTITION_BYTES"
    assert origins["log.keep_hours"] == "tailrace.toml"


def test_a_list_in_the_environment_is_split_at_commas(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"TAILRACE_TRUSTED_PROXIES": "10.0.0.0/8, ::1/128"})
    assert loaded.settings.trusted_proxies == ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[seal]\npartition_byte = 4096\n", "seal.partition_byte"),
        ("[seal]\npartition_bytes = 'big'\n", "seal.partition_bytes"),
        ("[seal]\npartition_bytes = 1\n", "seal.partition_bytes"),
        ("nonsense", "TOML"),
        ("trusted_proxies = ['300.1.1.1/8']\n", "300.1.1.1/8"),
        ("public_url = 'example'\n", "public_url"),
        ("[disk]\nfirst_bytes = 1\n", "disk.first_bytes"),
        ("[smtp]\nsecurity = 'maybe'\n", "smtp.security"),
        ("[smtp]\nsender = 'Acme <a@acme.example>'\n", "smtp.sender"),
        ("[smtp]\nsender = 'nobody'\n", "smtp.sender"),
        ('[smtp]\nsender = "a@acme.example\\nBcc: b@acme.example"\n', "smtp.sender"),
        ("[smtp]\nsender = 'ä@acme.example'\n", "smtp.sender"),
        ("[smtp]\nsender = '=?x?q?a?=@acme.example'\n", "smtp.sender"),
        ("[smtp]\noperator = ['ops@acme.example', '@']\n", "smtp.operator"),
        ("[smtp]\nhost = 'mail.example:587'\n", "smtp.host"),
        ("[smtp]\nusername = 'ann'\n", "smtp.password_file"),
        ("[smtp]\npassword_file = '/run/secrets/mail'\n", "smtp.username"),
        (
            "[smtp]\nhost = 'mail.example'\nsecurity = 'none'\nusername = 'a'\n"
            "password_file = 'b'\n",
            "clear text",
        ),
        ("[smtp]\ntimeout_seconds = 0\n", "smtp.timeout_seconds"),
        ("[disk]\nsecond_percent = nan\n", "disk.second_percent"),
        ("seal = 5\n", "seal"),
        ("a = " + "[" * 2000, "no valid TOML"),
        ('public_url = "https://[::1"\n', "public_url"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    _write(tmp_path, text)
    with pytest.raises(BadSetting, match=named):
        load(tmp_path, {})


def test_a_mail_server_is_named_with_an_account_and_operators(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "[smtp]\nhost = '::1'\nsecurity = 'none'\nusername = 'a'\npassword_file = 'b'\n"
        "sender = 'tailrace@acme.example'\n",
    )
    smtp = load(
        tmp_path, {"TAILRACE_SMTP_OPERATOR": "ops@acme.example, night@acme.example"}
    ).settings.smtp
    assert (smtp.host, smtp.sender) == ("::1", "tailrace@acme.example")
    assert smtp.operator == ("ops@acme.example", "night@acme.example")


@pytest.mark.parametrize(
    ("name", "value"),
    [("TAILRACE_SEAL_PARTITION_BYTE", "1"), ("TAILRACE_LOG_KEEP_HOURS", "soon")],
)
def test_a_bad_variable_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        load(tmp_path, {name: value})


def test_rate_limits_are_off_until_they_are_switched_on(tmp_path: Path) -> None:
    assert not load(tmp_path, {}).settings.collect.rate_limits
    given = {
        "TAILRACE_COLLECT_RATE_LIMITS": "true",
        "TAILRACE_COLLECT_BATCH_EVENTS_PER_DAY": "9000",
    }
    collect = load(tmp_path, given).settings.collect
    assert collect.rate_limits
    assert (collect.httpapi_events_per_second, collect.batch_events_per_second) == (30, 1000)
    assert collect.batch_events_per_day == 9000


def test_settings_that_can_not_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "tailrace.toml").mkdir()
    with pytest.raises(BadSetting, match=r"tailrace\.toml: Is a directory"):
        load(tmp_path, {})


def test_endpoints_in_ones_own_network_are_for_the_operator_to_allow() -> None:
    assert not Settings().export.private_endpoints
