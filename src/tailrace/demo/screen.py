"""What the demo prints: lines that replace themselves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tailrace.clock import Clock

_NAME_WIDTH = 12
_WIDTH_IN_A_FILE = 200  # columns, so that no table is cut


class Screen:
    """Standard output, with or without a terminal behind it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.is_terminal = sys.stdout.isatty()
        self._console = Console(
            width=None if self.is_terminal else _WIDTH_IN_A_FILE,
            soft_wrap=True,
            highlight=False,
            emoji=False,
            markup=False,
        )
        if not self.is_terminal and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line of text."""
        self._console.print(Text(text, style=style))

    def heading(self, text: str) -> None:
        """Print the title of what follows."""
        self.line()
        self.line(text, "bold")

    @contextlib.contextmanager
    def step(self, name: str, doing: str) -> Iterator[Callable[[str], None]]:
        """Show what is being done, then its result and how long it took.

        Call the value with a text for progress; the last text given is the result.
        """
        start = self._clock.steady_micros()
        result = doing
        if self.is_terminal:
            with self._console.status(Text(f"{name:<{_NAME_WIDTH}} {doing}")) as status:

                def show(text: str) -> None:
                    nonlocal result
                    result = text
                    status.update(Text(f"{name:<{_NAME_WIDTH}} {text}"))

                yield show
        else:
            self.line(f"  {name:<{_NAME_WIDTH}} {doing} ...")

            def keep(text: str) -> None:
                nonlocal result
                result = text

            yield keep
        seconds = (self._clock.steady_micros() - start) / 1_000_000
        self._console.print(
            Text.assemble(
                ("  ✓ " if self.is_terminal else "  ", "green"),
                f"{name:<{_NAME_WIDTH}} {result} ",
                (f"({seconds:.1f} s)", "dim"),
            )
        )

    def was_enter_pressed(self) -> bool:
        """Say whether a line was typed since the last look; never without a terminal to type in."""
        if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
            return False
        return sys.stdin.readline() != ""

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print columns; numbers are set to the right."""
        table = RichTable(box=None, pad_edge=False, header_style="dim")
        for column, title in enumerate(head):
            numeric = any(isinstance(row[column], int | float) for row in rows)
            table.add_column(title, justify="right" if numeric else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self._console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
