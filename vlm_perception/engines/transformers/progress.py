"""How far loading a model is, in words, while transformers reads the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import transformers.utils.logging as transformers_logging

Tell = Callable[[str], None]


@contextmanager
def weights_told(tell: Tell) -> Iterator[None]:
    """Say how many weights are read while transformers loads a model.

    Its progress bar is looked at on the way; where its release has no hook for that,
    nothing is said.

    Args:
        tell: Hears texts such as "weights: 64 of 128"; called on the loading thread, often.
    """
    set_hook = getattr(transformers_logging, "set_tqdm_hook", None)
    if set_hook is None:
        yield
        return

    def bar(factory: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if args and hasattr(args[0], "__len__"):
            options = {"total": len(args[0]), **options}
            args = (_counted(args[0], tell), *args[1:])
        return factory(*args, **options)

    before = set_hook(bar)
    try:
        yield
    finally:
        set_hook(before)


def _counted(items: Any, tell: Tell) -> Iterator[Any]:
    for count, item in enumerate(items, start=1):
        yield item
        tell(f"weights: {count} of {len(items)}")
