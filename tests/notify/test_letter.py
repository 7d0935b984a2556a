"""One set of words, as text and as HTML; nothing that comes from elsewhere can change either."""

from __future__ import annotations

import pytest

from tailrace.notify.amounts import counted, duration, size
from tailrace.notify.letter import (
    Code,
    Facts,
    Heading,
    Letter,
    Paragraph,
    Small,
    as_html,
    as_text,
    subject_line,
)

LETTER = Letter(
    "Hello",
    (
        Paragraph("word " * 30),
        Facts((("Name", "value"), ("Longer name", "long " * 30))),
        Heading("What to do"),
        Code('{\n  "a": 1\n}\n'),
        Small("Sent to you."),
    ),
)


def test_text_reads_well_in_76_columns() -> None:
    text = as_text(LETTER)
    assert max(len(line) for line in text.splitlines()) <= 76
    assert "Name         value\nLonger name  long long" in text
    assert "\n             long" in text, "a value that goes on stands under its beginning"
    assert "What to do\n----------\n\n  {\n" in text
    assert text.endswith("-- \nSent to you.\n")


def test_what_comes_from_elsewhere_is_text_in_the_html() -> None:
    bad = '<script src="//x"></script>&"\''
    made = as_html(Letter(bad, (Paragraph(bad), Facts(((bad, bad),)), Code(bad), Heading(bad))))
    assert "<script" not in made
    assert made.count("&lt;script src=&quot;//x&quot;&gt;&lt;/script&gt;&amp;&quot;&#x27;") == 6


def test_the_html_loads_nothing_and_links_nowhere() -> None:
    made = as_html(LETTER)
    for word in ("http", "src=", "href", "url(", "<img", "<script", "@import"):
        assert word not in made


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Access to a\r\nBcc: eve@evil.example", "Access to a Bcc: eve@evil.example"),
        ("a\0b\x1b[31mc\u2028d", "a b [31mc d"),
        ("x" * 500, "x" * 149 + "…"),
    ],
)
def test_a_subject_is_one_line_whatever_is_in_it(text: str, line: str) -> None:
    assert subject_line(text) == line


def test_text_can_hold_no_line_that_it_was_not_given() -> None:
    text = as_text(Letter("", (Paragraph("a\n-- \nb"), Facts((("n", "c\r\nd"),)))))
    assert text == "a -- b\n\nn  c d\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "1 minute"),
        (38 * 60, "38 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (25 * 3600, "25 hours"),
        (48 * 3600, "2 days"),
        (44.4 * 86400, "44 days"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_amounts_have_units() -> None:
    assert [size(n) for n in (1, 999, 1000, 12_345_678, 10**15)] == [
        "1 byte",
        "999 bytes",
        "1.0 kB",
        "12.3 MB",
        "1000.0 TB",
    ]
    assert [counted(n, "event") for n in (0, 1, 58302)] == ["0 events", "1 event", "58,302 events"]
