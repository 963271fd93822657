"""Settings: the single source of every parameter."""

from __future__ import annotations

import re

import pytest
import yaml
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.errors import SettingsError
from vlm_perception.settings import Parameter, Settings, parameters
from vlm_perception.types import PixelBudget, Task

CONFIG = ROOT / "config" / "vlm_perception.yaml"

# value to set, what the message must name: the value, the limit, the remedy
WRONG = [
    ({"max_rate_hz": 5000.0}, ["5000", "1000", "0.01 to 1000.0 Hz"]),  # above the limit
    ({"max_rate_hz": 0.0}, ["max_rate_hz", "0.01"]),  # at zero nothing would ever run
    ({"max_age_s": float("nan")}, ["nan", "finite"]),  # NaN passes every comparison
    ({"max_age_s": float("inf")}, ["inf", "finite"]),
    ({"max_rat_hz": 1.0}, ["max_rat_hz", "max_rate_hz"]),  # typing error: nearest right name
    ({"zzz": 1}, ["zzz", "max_rate_hz", "prompt"]),  # nothing near: the whole list
    ({"min_pixels": 10**6, "max_pixels": 5000}, ["1000000", "5000", "min_pixels", "max_pixels"]),  # contradiction
    ({"dtype": "int4"}, ["int4", "bfloat16"]),  # unknown choice: lists the choices
    ({"task": "dtect"}, ["dtect", "detect"]),
    ({"image_transport": "jpeg"}, ["jpeg", "compressed"]),
    ({"device": "gpu"}, ["gpu", "cuda:0"]),
    ({"model": ""}, ["model", "string"]),
    ({"jpeg_quality": 2.5}, ["2.5", "integer"]),  # no silent rounding
    ({"jpeg_quality": True}, ["True", "integer"]),  # a bool is no number
    ({"prompt": 3}, ["prompt", "string"]),
    ({"frame_policy": "all"}, ["all", "every"]),
    ({"image_topics": "/a"}, ["'/a'", "list of strings"]),  # a string is no list of its letters
    ({"image_topics": ["/a", 3]}, ["image_topics[1]", "3"]),
    ({"image_topics": ["/a", ""]}, ["image_topics[1]", "''"]),
    ({"image_topics": ["/a", "/b", "/a"]}, ["'/a'", "once"]),
    ({"camera_weights": [0.0]}, ["camera_weights[0]", "0.01"]),
    ({"image_topics": ["/a", "/b"], "camera_weights": [1.0]}, ["1 values for 2 cameras", "[]"]),
    ({"memory_file": "a.db"}, ["'a.db' without depth_topics and target_frame", "such as map"]),
    ({"memory_file": "a.db", "depth_topics": ["/depth"]}, ["'a.db' without target_frame", "such as map"]),
    ({"memory_file": "a.db", "depth_topics": [""], "target_frame": "map"}, ["'a.db' without depth_topics"]),
    ({"memory_merge_distance_m": 0.0}, ["memory_merge_distance_m", "0.01 to 10.0 m"]),
]


@pytest.mark.parametrize(("values", "named"), WRONG)
def test_wrong_values_are_refused_with_value_limit_and_remedy(values: dict[str, object], named: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping(values)
    for word in named:
        assert word in str(caught.value)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"jpeg_quality.*; .*max_age") as caught:
        Settings.from_mapping({"jpeg_quality": 0, "max_agee_s": 1.0})
    assert "did you mean max_age_s" in str(caught.value)


def test_defaults_are_those_of_the_tutorial() -> None:
    settings = Settings()
    assert settings.model == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert settings.budget == PixelBudget(224 * 224, 1024 * 1024)
    assert settings.task is Task.AUTO


def test_whole_numbers_are_taken_for_real_ones() -> None:
    # `max_rate_hz: 3` in a file is what people write.
    assert Settings.from_mapping({"max_rate_hz": 3}).max_rate_hz == 3.0


def test_mapping_round_trip() -> None:
    settings = Settings.from_mapping({"task": "count", "prompt": "猫"})
    assert Settings.from_mapping(settings.to_mapping()) == settings
    assert settings.to_mapping()["task"] == "count"


def test_changed_checks_the_combination() -> None:
    settings = Settings()
    assert settings.changed(max_rate_hz=1.0).max_rate_hz == 1.0
    assert settings.max_rate_hz == 5.0
    with pytest.raises(SettingsError, match="max_pixels 5000"):
        settings.changed(max_pixels=5000)


@given(
    st.dictionaries(
        st.sampled_from([p.name for p in parameters()]) | st.text(max_size=12),
        st.none() | st.text() | st.integers() | st.floats() | st.lists(st.integers()),
    )
)
def test_anything_is_settings_or_a_settings_error(values: dict[str, object]) -> None:
    try:
        settings = Settings.from_mapping(values)
    except SettingsError:
        return
    assert settings.min_pixels <= settings.max_pixels


@pytest.mark.parametrize("parameter", parameters(), ids=lambda p: p.name)
def test_every_parameter_is_described_and_accepts_its_bounds(parameter: Parameter) -> None:
    assert parameter.description.endswith(".")
    for bound in (parameter.minimum, parameter.maximum):
        if bound is not None and parameter.name not in ("min_pixels", "max_pixels"):
            Settings.from_mapping({parameter.name: bound})
    for choice in parameter.choices:
        Settings.from_mapping({parameter.name: choice})


def test_config_file_holds_every_parameter_at_its_default_and_says_which_are_live() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    written = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert written == Settings().to_mapping()
    assert list(written) == [p.name for p in parameters()]
    for parameter in parameters():
        above = re.search(rf"((?:    # .*\n)+)    {parameter.name}:", text)
        assert above is not None
        assert ("(live)" in above.group(1), "(fixed)" in above.group(1)) == (parameter.live, parameter.fixed)
