"""A command whose output is read by others: what its libraries would print is held back."""

from __future__ import annotations

import logging
import os
import warnings


def silence_libraries(program: str, *, progress: bool) -> None:
    """Turn off warnings, log lines and progress bars of the libraries; errors come as exceptions anyway.

    Warnings of this package stay and go to stderr. To be called before the libraries are imported: they read it then.

    Args:
        program: Begins the lines of this package's own warnings.
        progress: Leave the progress bars of downloading and loading on.
    """
    warnings.simplefilter("ignore")
    for library in ("TRANSFORMERS", "HF_HUB"):
        os.environ[f"{library}_VERBOSITY"] = "error"
    if not progress:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # Without any handler, Python itself would print warnings of every library.
    logging.getLogger().addHandler(logging.NullHandler())
    own = logging.getLogger("vlm_perception")
    if not own.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
        own.addHandler(handler)
        own.setLevel(logging.WARNING)
