"""Where a command writes: what was asked for goes to standard output, everything else to standard error."""

import json
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH: Final = 140  # of tables that go to a file or another program


class Shell:
    """The two streams of one command. ``out`` may be piped: data and answers; ``err`` is for the person who waits."""

    def __init__(self) -> None:
        self.out = _console(error=False)
        self.err = _console(error=True)

    def data(self, value: Any) -> None:
        """Print a value as JSON."""
        self.raw(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def raw(self, text: str) -> None:
        """Print text exactly as it is, at once."""
        self.out.file.write(text)
        self.out.file.flush()

    def table(self, table: Table, *, empty: str) -> None:
        """Print a table, or say why there is none."""
        if table.row_count:
            self.out.print(table)
        else:
            self.note(empty)

    def note(self, text: str) -> None:
        """Tell the person something that is not the result."""
        self.err.print(Text(text, style="dim"))

    def error(self, message: str, *, hint: str | None = None) -> None:
        """Say what is wrong and what to do about it."""
        self.err.print(Text.assemble(("error: ", "bold red"), message))
        if hint:
            self.err.print(Text.assemble(("  fix: ", "bold"), hint))


def _console(*, error: bool) -> Console:
    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False, soft_wrap=False)
