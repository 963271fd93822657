"""What parts of this package without ROS say through Python's `logging`, in the node's own log."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

_PACKAGE = "vlm_perception"


def forward_python_log(logger: RcutilsLogger) -> None:
    """Hand on what this package logs through Python, for the whole process.

    Warnings and errors stay what they are; the rest, which the node tells in its own words, is for debugging.
    """
    package = logging.getLogger(_PACKAGE)
    package.handlers = [_Handler(logger)]
    package.setLevel(logging.DEBUG)
    package.propagate = False


class _Handler(logging.Handler):
    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # A line each: rclpy refuses another severity from a line of code that it has logged before.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.debug(text)
