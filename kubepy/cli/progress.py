"""What `kubepy up` and `kubepy down` show while they work: one line for each part, with a spinner where there is a terminal."""
from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Progress:
    """Prints a line for each thing done; on a terminal the thing under way spins at the bottom."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._status: Status | None = self.console.status("") if self.console.is_terminal else None
        self._began = time.monotonic()
        self._doing = ""

    def __enter__(self) -> Progress:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status:
            self._status.stop()

    def doing(self, text: str) -> None:
        """What is being waited for."""
        if text != self._doing:
            self._doing = text
            if self._status:
                self._status.update(escape(text))

    def done(self, text: str, detail: str = "") -> None:
        self.console.print(f"[green]✔[/] {escape(text)}" + (f"  [dim]{escape(detail)}[/]" if detail else ""))

    def warn(self, text: str) -> None:
        self.console.print(f"[yellow]![/] {escape(text)}")

    def fail(self, text: str) -> None:
        self.console.print(f"[red]✘[/] {escape(text)}")

    def say(self, text: str) -> None:
        """Plain lines: what is in brackets (an IPv6 address) is no markup, here as in all the others."""
        self.console.print(text, markup=False)

    @property
    def seconds(self) -> float:
        """Since the progress was made."""
        return time.monotonic() - self._began
