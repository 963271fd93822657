"""Where servers are and with which key they are asked. The key is in no parameter, message or log."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from vlm_perception.errors import SettingsError
from vlm_perception.settings import Settings

KEY_VARIABLE = "VLM_PERCEPTION_API_KEY"


def server_urls(settings: Settings) -> tuple[str, ...]:
    """Return the base URLs that `model` and `servers` name, each once, such as `http://host:8000/v1`.

    Raises:
        SettingsError: One of them is no such URL, or holds a user or a password.
    """
    named = (*([settings.model] if is_url(settings.model) else []), *settings.servers)
    return tuple(dict.fromkeys(map(_base_url, named)))


def is_url(model: str) -> bool:
    """Whether a value of `model` names a server instead of a checkpoint."""
    return model.startswith(("http://", "https://"))


def read_key(settings: Settings) -> str:
    """Read the key that servers ask for: from `server_key_file`, else from the environment; empty for none.

    Raises:
        SettingsError: The file cannot be read, is empty, or holds more than one word.
    """
    if not settings.server_key_file:
        return os.environ.get(KEY_VARIABLE, "").strip()
    path = Path(settings.server_key_file).expanduser()
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        raise SettingsError(f"server_key_file {path} cannot be read: {reason}; write the key alone into it") from error
    if len(words) != 1:
        raise SettingsError(f"server_key_file {path} holds {len(words)} words; write the key alone into it")
    return words[0]


def _base_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"server {url!r} is no URL: {error}; give one such as http://host:8000/v1") from error
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            f"the URL of server {host} holds a user or a password, which logs would show: take it out, and put the "
            f"key into {KEY_VARIABLE} or server_key_file"
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise SettingsError(f"server {url!r} is no address of a server; give one such as http://host:8000/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", ""))
