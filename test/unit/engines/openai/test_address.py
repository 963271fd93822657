"""Where servers are, and the key that nobody else may see."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlm_perception.engines.openai.address import KEY_VARIABLE, read_key, server_urls
from vlm_perception.errors import SettingsError
from vlm_perception.settings import Settings


@pytest.mark.parametrize(
    ("model", "servers", "urls"),
    [
        ("http://host:8000", [], ("http://host:8000/v1",)),
        ("http://host:8000/", [], ("http://host:8000/v1",)),
        ("https://host/api/v3/", [], ("https://host/api/v3",)),
        ("http://host/v1/chat/completions", [], ("http://host/v1",)),
        ("http://a:1/v1", ["http://b:2", "http://a:1"], ("http://a:1/v1", "http://b:2/v1")),
        ("Qwen/Qwen2.5-VL-3B-Instruct", ["http://[::1]:9/v1"], ("http://[::1]:9/v1",)),
        ("tiny", [], ()),
    ],
)
def test_urls_become_one_base_each(model: str, servers: list[str], urls: tuple[str, ...]) -> None:
    assert server_urls(Settings.from_mapping({"model": model, "servers": servers})) == urls


@pytest.mark.parametrize(
    "url", ["http://", "http://host:port/v1", "http://host/v1?key=1", "http://host:99999", "http://[::1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="http://host:8000/v1"):
        server_urls(Settings(model=url))


def test_a_password_in_a_url_is_refused_and_not_told() -> None:
    with pytest.raises(SettingsError, match=KEY_VARIABLE) as raised:
        server_urls(Settings(model="http://me:hunter2@host:8000/v1"))
    assert "hunter2" not in str(raised.value)


def test_a_key_comes_from_the_file_or_else_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, " from-environment\n")
    assert read_key(Settings()) == "from-environment"
    path = tmp_path / "key"
    path.write_text("from-file\n")
    assert read_key(Settings(server_key_file=str(path))) == "from-file"
    for text in ("", "two words", "schlüssel"):
        path.write_text(text)
        with pytest.raises(SettingsError, match="the key alone"):
            read_key(Settings(server_key_file=str(path)))
    with pytest.raises(SettingsError, match="absent"):
        read_key(Settings(server_key_file=str(tmp_path / "absent")))
