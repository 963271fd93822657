"""Keep the model libraries from writing between a command's own lines."""

from __future__ import annotations

import logging
import os
import warnings

_OWN = "vlm_perception"


def silence_libraries(*, progress: bool) -> None:
    """Turn off warnings, log lines and progress bars of the libraries; errors come as exceptions anyway.

    Warnings of this package stay and go to stderr. To be called before the libraries are imported.

    Args:
        progress: Leave the progress bars of downloading and loading on.
    """
    warnings.simplefilter("ignore")
    if not progress:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    import huggingface_hub.utils.logging
    import transformers.utils.logging

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    huggingface_hub.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not progress:
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # Without any handler, Python itself would print warnings of every library.
    logging.getLogger().addHandler(logging.NullHandler())
    own = logging.getLogger(_OWN)
    if not own.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("vlm-detect: %(message)s"))
        own.addHandler(handler)
        own.setLevel(logging.WARNING)
