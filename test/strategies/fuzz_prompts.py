"""Prompts from anybody: every sign, chat tokens, files and addresses, JSON, and up to 10 MB."""

from __future__ import annotations

import json

from hypothesis import strategies as st

CHAT_TOKENS = ("<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|vision_start|>", "<|endoftext|>", "<|video_pad|>")
# Names of things outside that no prompt may reach.
ADDRESSES = (
    "file:///etc/passwd",
    "../../../etc/passwd",
    "/dev/stdin",
    "http://127.0.0.1:1/x.png",
    "https://example.org/a.jpg",
    "data:image/png;base64,iVBORw0KGgo=",
    '{"type": "image", "image": "file:///etc/hostname"}',
    "<img src='file:///etc/passwd'>",
    "${HOME} $(id) `id` %s {0} {what} {{}}",
)
_PIECES = (
    *CHAT_TOKENS,
    *ADDRESSES,
    *("red cup", "每个物体", "count: ", "point: ", "raw:", ";", "；", "?", "JSON", "how many ", " ", "\n", "\t"),
    *("\0", "\x01", "\x1b[31m", "\x7f", "\r\n", "\u202e", "\u200b", "\ufeff", "e\u0301" * 9, "👩‍👩‍👧"),
    *("<", "|", ">", "<|", "|>", "[", "]", "{", "}", '"', "\\", "'"),
)
# What DDS can carry; Python strings hold half characters too.
SENDABLE = st.text(max_size=200) | st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)
_QUERIES = st.lists(
    st.text(max_size=20)
    | st.fixed_dictionaries({"prompt": st.text(max_size=20)}, optional={"id": st.text(max_size=5), "task": st.text()})
    | st.none()
    | st.integers(),
    max_size=20,
).map(json.dumps)
# Twice the limit of a prompt up to 10 MB; the text is made from a short piece, so that it is made quickly.
HUGE = st.tuples(st.sampled_from(_PIECES), st.sampled_from([4000, 10**5, 10**7])).map(
    lambda drawn: (drawn[0] * (drawn[1] // len(drawn[0]) + 1))[: drawn[1]]
)
PROMPTS = SENDABLE | _QUERIES | st.text(st.characters(), max_size=60) | HUGE
