"""Write a tiny file in the MaxMind format: IPv4 networks and what is known of them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

_RECORD_BITS = 24


def write_mmdb(path: Path, networks: dict[str, Any], kind: str = "Test-City") -> Path:
    """Write networks that do not overlap, each with its record."""
    nodes: list[list[int | None]] = [[None, None]]
    data = b""
    leaves: list[tuple[int, int, int]] = []
    for network, record in networks.items():
        parsed = IPv4Network(network)
        node = 0
        for depth in range(parsed.prefixlen):
            bit = int(parsed.network_address) >> (31 - depth) & 1
            if depth == parsed.prefixlen - 1:
                leaves.append((node, bit, len(data)))
                break
            following = nodes[node][bit]
            if following is None:
                nodes.append([None, None])
                following = nodes[node][bit] = len(nodes) - 1
            node = following
        data += _value(record)
    count = len(nodes)
    for node, bit, offset in leaves:
        nodes[node][bit] = count + 16 + offset
    tree = b"".join(
        (count if side is None else side).to_bytes(3, "big") for node in nodes for side in node
    )
    metadata = {
        "binary_format_major_version": _Sized(2, 2),
        "binary_format_minor_version": _Sized(0, 2),
        "build_epoch": _Sized(1_700_000_000, 8),
        "database_type": kind,
        "description": {"en": "test"},
        "ip_version": _Sized(4, 2),
        "languages": ["en"],
        "node_count": count,
        "record_size": _Sized(_RECORD_BITS, 2),
    }
    path.write_bytes(tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _value(metadata))
    return path


class _Sized:
    """A number of 2 or 8 bytes, where the format wants such."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return _head(2, len(text)) + text
    if isinstance(value, int):
        number = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _head(6, len(number)) + number
    if isinstance(value, _Sized):
        number = value.number.to_bytes(value.size, "big")
        head = _head(5, 2) if value.size == 2 else bytes([8, 9 - 7])
        return head + number
    if isinstance(value, float):
        return _head(3, 8) + struct.pack(">d", value)
    if isinstance(value, list):
        # Types over 7 say so in a second byte.
        return bytes([len(value), 11 - 7]) + b"".join(map(_value, value))
    pairs = b"".join(_value(name) + _value(one) for name, one in value.items())
    return _head(7, len(value)) + pairs


def _head(kind: int, size: int) -> bytes:
    return bytes([kind << 5 | size]) if size < 29 else bytes([kind << 5 | 29, size - 29])
