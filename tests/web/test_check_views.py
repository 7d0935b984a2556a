"""View values of checks and policies, without a page."""

from __future__ import annotations

from tailrace.export.answers import ACTIONS
from tailrace.export.verify import PLANNED, Step
from tailrace.hours import Hour
from tailrace.state.delivery import Cause
from tailrace.web.check_rows import checks, report
from tailrace.web.policy_pieces import with_added, with_blanks
from tailrace.web.setup_verify import done_words

REFUSED = Cause("access", "AccessDenied", "Refused.", "Add it.", status=403, title="S3 refuses")


def _steps(*calls: str) -> list[Step]:
    return [Step(call, ACTIONS[call], "ok") for call in calls]


def test_what_is_still_to_come_is_shown_from_the_beginning() -> None:
    rows = checks((), running=True).rows
    assert [row[1] for row in rows] == [planned.name for planned in PLANNED]
    assert [row[2] for row in rows] == ["running", *["waiting"] * 7]
    assert [row[2] for row in checks((), running=False).rows] == ["waiting"] * 8


def test_each_outcome_has_its_row_and_the_next_one_runs() -> None:
    steps = [*_steps("HeadBucket"), Step("ListObjectsV2", "s3:ListBucket", "missing", REFUSED)]
    found = checks(steps, running=True)
    assert [row[2] for row in found.rows][:4] == ["ok", "bad", "running", "waiting"]
    assert found.rows[1][3] == "403 AccessDenied"
    assert found.said == "List the prefix: failed"
    assert checks(steps, running=False).said == "1 of 8 checks failed"
    skipped = checks([Step("HeadBucket", "s3:ListBucket", "not tried")], running=False)
    assert skipped.rows[0][2] == "skipped"


def test_a_condition_that_met_trouble_stands_beside_the_planned_checks() -> None:
    calls = [planned.call for planned in PLANNED]
    again = Step("PutObject", "s3:PutObject", "temporary", REFUSED)
    steps = [*_steps(*calls[:-1]), again, *_steps(calls[-1])]
    rows = checks(steps, running=False).rows
    assert len(rows) == len(PLANNED) + 1
    assert rows[-2][1:3] == ("Write a test object once more", "bad")
    assert rows[-1][1:3] == ("Remove the test object", "ok")
    assert len({row[0] for row in rows}) == len(rows)


def test_a_report_is_lines_of_text() -> None:
    found = checks([Step("HeadBucket", "s3:ListBucket", "missing", REFUSED)], running=False)
    lines = report("s3://acme/", found, "2026-11-23 10:00 UTC").splitlines()
    assert lines[0] == "Access of tailrace to s3://acme/, checked 2026-11-23 10:00 UTC"
    assert lines[1] == "failed     Find the bucket, s3:ListBucket (403 AccessDenied)"


def test_pieces_join_to_the_very_text() -> None:
    text = (
        '{"Action": [\n    "s3:PutObject",\n    "s3:GetObject"\n  ],\n  "R": "YOUR-BUCKET/*"\n}\n'
    )
    added = with_added(text, {"s3:GetObject"})
    assert "".join(piece for piece, _ in added) == text
    assert [piece for piece, kind in added if kind == "added"] == ['    "s3:GetObject"\n']
    blank = with_blanks(text)
    assert "".join(piece for piece, _ in blank) == text
    assert [piece for piece, kind in blank if kind == "blank"] == ["YOUR-BUCKET"]


def test_what_goes_out_when_is_said_in_words() -> None:
    now = Hour.parse("2026-11-23T23")
    assert done_words(13, now) == (
        "The 13 closed hours of today are going out now; 23:00–00:00 UTC follows shortly after "
        "00:00."
    )
    assert done_words(1, now).startswith("The one closed hour of today")
    assert done_words(0, now).startswith("No hour of today is closed yet.")
