"""A mail's words, once, and the two forms in which they are sent: plain text and HTML.

The HTML has no script, no image, no link and nothing that is loaded, so that opening it tells
nobody.
"""

from __future__ import annotations

import html
import textwrap

import msgspec

WIDTH = 76

# Longer subjects are cut by the lists that mail programs show.
SUBJECT_LENGTH_MAX = 150

_BODY = "margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif"
_PRE = (
    "margin:0 0 16px;padding:12px;border:1px solid #8888;border-radius:4px;"
    "font:14px/1.4 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere"
)
_CELL = "padding:2px 0;vertical-align:top;overflow-wrap:anywhere"
_NAME = "padding:2px 16px 2px 0;vertical-align:top;text-align:left;font-weight:600"


class Paragraph(msgspec.Struct, frozen=True):
    """Sentences."""

    text: str


class Heading(msgspec.Struct, frozen=True):
    """What the next parts are about."""

    text: str


class Facts(msgspec.Struct, frozen=True):
    """Names and values."""

    rows: tuple[tuple[str, str], ...]


class Code(msgspec.Struct, frozen=True):
    """Text to copy as it is."""

    text: str


class Small(msgspec.Struct, frozen=True):
    """The last words: who gets the mail, and when the next one comes."""

    text: str


Part = Paragraph | Heading | Facts | Code | Small


class Letter(msgspec.Struct, frozen=True):
    """What a mail says."""

    subject: str
    parts: tuple[Part, ...]


def subject_line(text: str) -> str:
    """Return a subject as one line without control characters, whatever names are in it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= SUBJECT_LENGTH_MAX else line[: SUBJECT_LENGTH_MAX - 1] + "…"


def as_text(letter: Letter) -> str:
    """Return the plain text; lines are at most 76 characters long, but for what is copied."""
    return "\n\n".join(_text_of(part) for part in letter.parts) + "\n"


def as_html(letter: Letter) -> str:
    """Return the HTML, with everything escaped that comes from elsewhere."""
    body = "\n".join(_html_of(part) for part in letter.parts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{html.escape(subject_line(letter.subject))}</title>
</head>
<body style="{_BODY}">
<div style="max-width:42em">
{body}
</div>
</body>
</html>
"""


def _text_of(part: Part) -> str:
    match part:
        case Heading(text):
            return f"{text}\n{'-' * len(text)}"
        case Facts(rows):
            return "\n".join(_fact(rows, name, value) for name, value in rows)
        case Code(text):
            return textwrap.indent(text.rstrip("\n"), "  ")
        case Small(text):
            return f"-- \n{_wrapped(text)}"
        case Paragraph(text):
            return _wrapped(text)


def _fact(rows: tuple[tuple[str, str], ...], name: str, value: str) -> str:
    indent = max(len(other) for other, _ in rows) + 2
    return _wrapped(_one_line(value), first=name.ljust(indent), rest=" " * indent)


def _wrapped(text: str, *, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        _one_line(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _html_of(part: Part) -> str:
    match part:
        case Heading(text):
            style = "margin:24px 0 8px;font-size:18px"
            return f'<h2 style="{style}">{html.escape(text)}</h2>'
        case Facts(rows):
            cells = "\n".join(
                f'<tr><th style="{_NAME}">{html.escape(name)}</th>'
                f'<td style="{_CELL}">{html.escape(_one_line(value))}</td></tr>'
                for name, value in rows
            )
            style = "margin:0 0 16px;border-collapse:collapse"
            return f'<table style="{style}">\n{cells}\n</table>'
        case Code(text):
            return f'<pre style="{_PRE}">{html.escape(text)}</pre>'
        case Small(text):
            style = "margin:24px 0 0;font-size:14px;opacity:.75"
            return f'<p style="{style}">{html.escape(_one_line(text))}</p>'
        case Paragraph(text):
            return f'<p style="margin:0 0 16px">{html.escape(_one_line(text))}</p>'


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
