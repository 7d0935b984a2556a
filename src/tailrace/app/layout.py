"""`LAYOUT`: keys and manifest as sealing defines them, for `export`, which knows no `seal`."""

from __future__ import annotations

from tailrace.export.deliver import Layout
from tailrace.seal.manifest import manifest_body
from tailrace.seal.names import file_key, manifest_key, marker_key

LAYOUT = Layout(
    file_key=file_key,
    manifest_key=manifest_key,
    marker_key=marker_key,
    manifest_body=manifest_body,
)
