"""Target `forms`: the short texts that tailrace reads, from headers to settings and hours."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fuzz.claims import claim, strict_json
from tailrace.app.listening import Address
from tailrace.collect.answers import invalid_api_key, preflight, unknown_encoding
from tailrace.collect.client_address import client_address
from tailrace.collect.parsing import parse
from tailrace.collect.times import client_upload_micros
from tailrace.errors import BadRequest, BadSetting
from tailrace.hours import Hour
from tailrace.process.times import clamped, micros_text, millis_text
from tailrace.seal.names import check_prefix, file_name, parse_file_name, url_path
from tailrace.settings import ENVIRONMENT_PREFIX, FILE_NAME, load

# The longest text of an address, an IPv4 one inside an IPv6 one included.
ADDRESS_LENGTH_MAX = 45
_PROXY = ipaddress.ip_network("10.0.0.0/8")
_MICROS_MAX = 253_402_300_799_999_000


def target(data: bytes) -> None:
    """Read an input as the form that its first byte names."""
    if data:
        FORMS[data[0] % len(FORMS)](data[1:])


def _client_address(data: bytes) -> None:
    headers = [(b"x-forwarded-for", value) for value in data.split(b"\n")]
    found = client_address("10.0.0.1", headers, [_PROXY])
    claim(len(found) <= ADDRESS_LENGTH_MAX, f"an address of {len(found)} characters")
    ipaddress.ip_address(found)
    claim(client_address("203.0.113.7", headers, [_PROXY]) == "203.0.113.7", "anyone is believed")


def _settings_file(data: bytes) -> None:
    (_folder() / FILE_NAME).write_bytes(data)
    try:
        load(_folder(), {})
    except BadSetting as error:
        claim(str(error), "an error says nothing")


def _settings_variable(data: bytes) -> None:
    (_folder() / FILE_NAME).unlink(missing_ok=True)
    name, _, value = data.decode("latin-1").partition("=")
    try:
        load(_folder(), {ENVIRONMENT_PREFIX + name: value})
    except BadSetting as error:
        claim(str(error), "an error says nothing")


def _hour(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        hour = Hour.parse(text)
    except BadRequest:
        return
    claim(str(hour) == text and hour.previous().next() == hour, "an hour is read as another")
    name = file_name(300_001, hour, 1)
    claim(parse_file_name(name).hour == hour, "a name is read as another")


def _file_name(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = parse_file_name(text)
    except BadRequest:
        return
    claim(file_name(found.scope, found.hour, found.number) == text, "a name is read as another")


def _prefix(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        prefix = check_prefix(text)
    except BadRequest:
        return
    claim(prefix == text and ".." not in prefix.split("/"), "a prefix leaves its folder")
    claim("*" not in prefix and "?" not in prefix, "a prefix widens a policy")
    claim("#" not in url_path(prefix + "a#1"), "a URL is cut")


def _address(data: bytes) -> None:
    try:
        address = Address.parse(data.decode("utf-8", "surrogateescape"), "--listen")
    except BadRequest:
        return
    claim(address.host and 0 <= address.port <= 65_535, "an address without host or port")


def _client_upload_time(data: bytes) -> None:
    try:
        given = parse(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return
    micros = client_upload_micros(given if type(given) in (str, int, float) else None)
    claim(micros is None or 0 <= micros <= _MICROS_MAX, "a time that no line can say")


def _answers(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for answer in (invalid_api_key(text), unknown_encoding(data.decode("latin-1"))):
        claim(strict_json(answer.body)["code"] == answer.status, "code is not the status")
        claim(len(answer.body) < 8192, "an answer echoes without a limit")
    for _, value in preflight(data).headers:
        claim(b"\r" not in value and b"\n" not in value, "a header is split")


def _times(data: bytes) -> None:
    number = int.from_bytes(data[:10], "big", signed=True)
    claim(len(millis_text(number)) == len("2026-03-05 17:00:00.000000"), "a time of other length")
    claim(len(micros_text(number)) == len("2026-03-05 17:00:00.000000"), "a time of other length")
    claim(clamped(clamped(number)) == clamped(number), "a time moves when it is clamped again")


FORMS: tuple[Callable[[bytes], None], ...] = (
    _client_address,
    _settings_file,
    _settings_variable,
    _hour,
    _file_name,
    _prefix,
    _address,
    _client_upload_time,
    _answers,
    _times,
)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="tailrace-fuzz-"))
