"""Read the fields of a form: the query, an urlencoded body, a multipart body (3.3 to 3.5).

Values stay bytes: as text, one rare character would make a field four times as large.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

# Such forms have two to five fields. The limit keeps a body of ampersands from becoming a million.
FIELDS_MAX = 16
# A part's headers name the field and say its type.
PART_HEADERS_MAX = 8
PART_HEADER_BYTES_MAX = 4096

_UNQUOTED_BYTES = 16_384

# What is told of a name in a refusal: a longer or an odd one may be a value that lost its name.
_NAME = re.compile("[a-z_]{1,20}")

_MULTIPART = b"multipart/form-data"
_URLENCODED = b"application/x-www-form-urlencoded"
# What senders of forms without a type of their own say, or say nothing.
_UNTYPED = (b"", b"text/plain", b"application/octet-stream")

Fields = dict[str, bytes]


class BadForm(ValueError):
    """The form can't be read; the message says why and quotes no value."""


class UnknownForm(ValueError):
    """The body is of a type that is no form."""


def read_form(query: bytes, content_type: bytes, body: bytes) -> Fields:
    """Return the fields of the query and of the body together.

    Raises:
        BadForm: too many fields, one field twice, or a broken body.
        UnknownForm: a Content-Type that is no form's.
    """
    fields: Fields = {}
    _add_urlencoded(fields, query)
    if not body:
        return fields
    kind, options = parse_options_header(content_type)
    if kind == _MULTIPART:
        _add_multipart(fields, options.get(b"boundary", b""), body)
    elif kind == _URLENCODED or kind in _UNTYPED:
        _add_urlencoded(fields, body)
    else:
        raise UnknownForm(kind.decode("latin-1"))
    return fields


def _add_urlencoded(fields: Fields, text: bytes) -> None:
    if text.count(b"&") >= FIELDS_MAX:
        raise BadForm(f"A form has at most {FIELDS_MAX} fields.")
    for pair in text.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            _add(fields, _unquoted(name), _unquoted(value))


def _unquoted(text: bytes) -> bytes:
    text = text.replace(b"+", b" ")
    if len(text) <= _UNQUOTED_BYTES:
        return unquote_to_bytes(text)
    # Piece by piece: the library makes objects of a hundred bytes from each percent sign.
    whole = bytearray()
    start = 0
    while start < len(text):
        end = start + _UNQUOTED_BYTES
        cut = text.find(b"%", end - 2, end)
        end = end if cut < 0 or end >= len(text) else cut
        whole += unquote_to_bytes(text[start:end])
        start = end
    return bytes(whole)


def _add(fields: Fields, name: bytes, value: bytes) -> None:
    # A name that is no ASCII is none that anybody looks for, but is not another's either.
    text = name.decode("latin-1")
    if text in fields:
        told = f"the field {text}" if _NAME.fullmatch(text) else "a field"
        raise BadForm(f"The form has {told} more than once; query and body count together.")
    if len(fields) >= FIELDS_MAX:
        raise BadForm(f"A form has at most {FIELDS_MAX} fields.")
    fields[text] = value


def _add_multipart(fields: Fields, boundary: bytes, body: bytes) -> None:
    if not boundary:
        raise BadForm("The multipart form names no boundary.")
    parts = _Parts(fields)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_header_end": parts.end_header,
                "on_part_data": parts.content,
                "on_part_end": parts.end,
                "on_end": parts.finish,
            },
            max_size=len(body),
            max_header_count=PART_HEADERS_MAX,
            max_header_size=PART_HEADER_BYTES_MAX,
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadForm("The multipart form is broken.") from error
    if not parts.complete:
        raise BadForm("The multipart form ends too early.")


class _Parts:
    """What the parser calls, part by part."""

    def __init__(self, fields: Fields) -> None:
        self.complete = False
        self._fields = fields
        self._count = 0
        self._clear()

    def _clear(self) -> None:
        self._name: bytes | None = None
        self._header = bytearray()
        self._value = bytearray()
        self._content = bytearray()

    def begin(self) -> None:
        self._count += 1
        if self._count > FIELDS_MAX:
            raise BadForm(f"A form has at most {FIELDS_MAX} fields.")
        self._clear()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name")
        self._header.clear()
        self._value.clear()

    def content(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]

    def end(self) -> None:
        if not self._name:
            raise BadForm("A part of the multipart form has no name.")
        _add(self._fields, self._name, bytes(self._content))
        self._clear()

    def finish(self) -> None:
        self.complete = True
