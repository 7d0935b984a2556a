"""`status`, `inspect` and `settings`: what a person or a script may look at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tailrace.cli.output import (
    DATA_DEFAULT,
    FAILED,
    DataOption,
    JsonOption,
    open_folder,
    print_json,
    print_lines,
    print_table,
)
from tailrace.errors import BadRequest, BadSetting
from tailrace.settings import load

if TYPE_CHECKING:
    from tailrace.ops.status import Status
    from tailrace.seal.inspect import Inspection


# What a part says of the present that somebody should act on.
_PART_ALARMS = {
    "clock_stepped": (
        "uploads get 503, because the machine's clock jumped forward. Set it right, or run "
        "`tailrace clock accept` if its time is right."
    ),
    "clock_behind": "the machine's clock is behind the log's time. Set it right.",
    "disk_reserves_broken": "free disk space is under a reserve. Free some, or add to the disk.",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status")(_status)
    app.command("inspect")(_inspect)
    app.command("settings")(_settings)


def _status(data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> None:
    """Show hours and runs by state, counts, lag, silent partitions and held events."""
    from tailrace.ops.status import StatusReader
    from tailrace.state.database import open_database

    folder, _, clock = open_folder(data)
    engine = open_database(folder.database)
    try:
        status = StatusReader(folder, engine, clock).read()
    finally:
        engine.dispose()
    if json:
        print_json(status)
    else:
        _print_status(status, _mail_host(folder.path))


def _mail_host(folder: Path) -> str | None:
    try:
        return load(folder, os.environ).settings.smtp.host
    except BadSetting:
        # Whoever looks at the status of a service that such a setting stopped has to see it.
        return None


def _print_status(status: Status, mail_host: str | None) -> None:
    state = "running" if status.running else "stopped"
    down = [part.name for part in status.parts if not part.up]
    print_lines([f"service     {state} ({status.time})"])
    if down and status.running:
        print_lines([f"down        {', '.join(down)}"])
    for name, address in status.addresses.items():
        if name != "ready":
            print_lines([f"{name:<11} {address}"])
    newest = status.newest_sealed_hour or "none yet"
    print_lines(
        [
            f"hours       {status.hours.collecting} collecting, {status.hours.sealed} sealed"
            f" (newest {newest})",
            f"runs        {_counts(status.runs)}",
        ]
    )
    for destination in status.destinations:
        owed = destination.oldest_owed_hour
        behind = f"; oldest owed hour {owed}" if owed else ""
        head = f"  destination {destination.id} ({destination.name})"
        print_lines([f"{head}: {_counts(destination.runs)}{behind}"])
    for trouble in status.troubles:
        head = f"  {trouble.state} {trouble.data_type} of {trouble.hour}, destination"
        print_lines([f"{head} {trouble.destination}: {trouble.sentence} {trouble.fix}"])
    for hour in status.open_hours:
        print_lines(
            [
                f"  {hour.hour} project {hour.project}: {hour.accepted} accepted,"
                f" {hour.exported} to export, {hour.duplicates} duplicates,"
                f" {hour.identifies} identifies, {hour.filtered} filtered, {hour.held} held"
            ]
        )
    for merges in status.open_merges:
        print_lines(
            [f"  {merges.hour} organization {merges.organization}: {merges.merges} merged IDs"]
        )
    for partition in status.partitions:
        lag = "" if partition.lag_seconds is None else f", {partition.lag_seconds:.1f} s behind"
        silent = ", silent: it holds its hour open" if partition.silent else ""
        done = partition.processed_until or "nothing"
        print_lines([f"partition {partition.id}  processed until {done}{lag}{silent}"])
    print_lines([f"held        {status.held} events", f"mail        {_mail(status, mail_host)}"])
    for part in status.parts:
        for name, sentence in _PART_ALARMS.items():
            if part.up and part.counters.get(name):
                print_lines([f"ALARM       {part.name}: {sentence}"])
    for alarm in status.alarms:
        print_lines([f"ALARM       {alarm.sentence}"])


def _mail(status: Status, host: str | None) -> str:
    found = status.mail
    if host == "":
        return f"{found.waiting} kept; no mail server is set (smtp.host), so none is sent"
    parts = [f"{found.waiting} to send"]
    if found.not_sent:
        parts.append(f"{found.not_sent} not sent")
    why = f": {found.error}" if found.error and (found.waiting or found.not_sent) else ""
    return ", ".join(parts) + why


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"


def _inspect(
    file: Annotated[Path, typer.Argument(help="An exported or sealed .json.gz file.")],
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Say what an exported file holds, and whether it is sound (exit code 1 if not)."""
    from tailrace.seal.inspect import inspect_file

    try:
        inspection = inspect_file(file)
    except OSError as error:
        raise BadRequest(
            f"Cannot read {file}: {error.strerror}. Name a file to inspect."
        ) from error
    if json:
        print_json(inspection)
    else:
        _print_inspection(inspection)
    if not inspection.sound:
        raise typer.Exit(FAILED)


def _print_inspection(inspection: Inspection) -> None:
    for name, value in msgspec.to_builtins(inspection).items():
        if value is not None and value != []:
            print_lines([f"{name.replace('_', ' '):<20} {value}"])


def _settings(data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> None:
    """Show every setting: its value, where that comes from, and what it means."""
    listing = load(data.resolve(), os.environ).listing
    if json:
        print_json(listing)
        return
    print_table(
        ("setting", "value", "origin", "meaning"),
        [(s.key, _value(s.value), s.origin, s.meaning) for s in listing],
    )


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()
