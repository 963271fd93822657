"""What `vlm-detect` tells people on stderr: notes, failures and, on a terminal, a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from vlm_perception.apps.detect.inputs import Failure

PROGRAM = "vlm-detect"


class Terminal:
    """Talks on stderr, never on stdout.

    Args:
        quiet: Only failures are told.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: tqdm[None] | None = None
        self._told: set[Failure] = set()

    @contextmanager
    def bar(self, count: Callable[[], int], *, stdout_shows_progress: bool) -> Iterator[None]:
        """While entered, show a progress bar, if somebody sees it and there is more than one picture.

        Args:
            count: Tells how many pictures there are; asked only when a bar can be seen.
            stdout_shows_progress: Lines on the same terminal tell already how it goes, and the bar
                would be torn by them.
        """
        seen = not self._quiet and not stdout_shows_progress and sys.stderr.isatty()
        total = count() if seen else 0
        if total > 1:
            self._bar = tqdm(total=total, unit="image", file=sys.stderr, dynamic_ncols=True)
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def note(self, text: str) -> None:
        """Say something that is good to know; nothing when quiet."""
        if not self._quiet:
            self.say(text)

    def failed(self, failure: Failure) -> None:
        """Say that something could not be answered, once."""
        if failure not in self._told:
            self._told.add(failure)
            self.say(failure.message)

    def step(self) -> None:
        """Move the bar by one picture."""
        if self._bar is not None:
            self._bar.update()

    def say(self, text: str) -> None:
        """Write one line, above the bar if there is one."""
        line = f"{PROGRAM}: {' '.join(text.split())}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)
