"""Edit, delete or pause a destination in a process of its own, which may be killed.

Run as `python editing_child.py DATABASE DESTINATION VERB BUCKET`; the point at which it dies comes
from TAILRACE_KILL_AT.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tailrace import killpoints
from tailrace.app.editing import Edit, Editor
from tailrace.app.switching import pause, resume
from tailrace.clock import SystemClock
from tailrace.export.client import Clients, ClientSettings
from tailrace.settings import Settings
from tailrace.state.database import open_database
from tailrace.state.destinations import Destinations
from tailrace.state.secrets import Secrets

killpoints.arm(os.environ.get("TAILRACE_KILL_AT"))
path, number, verb, bucket = sys.argv[1:]
engine = open_database(Path(path))
destinations = Destinations(engine, SystemClock(), by="test")
clients = Clients(
    ClientSettings(private_endpoints=True), lambda secret: secret.decode(), SystemClock()
)
editor = Editor(
    destinations,
    clients,
    Secrets(b"A" * 43 + b"="),
    Settings(),
    machine=SystemClock(),
    sleep=time.sleep,
)
if verb == "edit":
    done = editor.edit(int(number), Edit(bucket=bucket))
    assert done.changed == ("bucket",), done
elif verb == "delete":
    editor.delete(int(number))
elif verb == "pause":
    pause(destinations, int(number))
else:
    resume(destinations, clients, int(number))
engine.dispose()
