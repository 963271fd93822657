"""JSON files of a known form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from vlm_perception.errors import DatasetError

_Form = TypeVar("_Form")


def read_json(path: Path, form: TypeAdapter[_Form], name: str) -> _Form:
    """Read a file.

    Args:
        path: Of the file.
        form: What it has to hold; what it holds besides is passed over.
        name: What such a file is called in messages.

    Raises:
        DatasetError: It cannot be read, or holds something else.
    """
    try:
        return form.validate_python(json.loads(path.read_bytes()))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}; name a {name}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise DatasetError(f"{path} is no {name}: {place}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no {name}: {error}") from error


def is_list(path: Path) -> bool:
    """Whether a file begins as a list in JSON."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"[")
    except OSError:
        return False
