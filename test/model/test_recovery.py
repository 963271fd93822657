"""Too little memory and too little time, with the real tiny model behind the worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import torch
from manual_clock import ManualClock
from scripted_engine import PATIENCE_S
from small_memory import OUT_OF_MEMORY, SmallMemory, small_memory, wide_tiny
from worker_bench import WorkerBench

from vlm_perception.engines.base import Engine, never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.errors import DeviceLostError, InferenceError, ModelMemoryError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.prompts.standing import parse_prompts
from vlm_perception.scenes import MovingScene
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Request
from vlm_perception.worker.memory_backoff import FIRST_PATIENCE

SEEN_PX = 252 * 168  # of a 640x480 image with at most 224 * 224 pixels
TWO_PROMPTS = parse_prompts('["all objects", "red circle"]', build_prompt)
SCENE = MovingScene(7, (640, 480), n_objects=2).at(0.0).rgb


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    """A small tiny model that takes images of any size; outside of what it learned, it answers anything."""
    engine = open_engine(wide_tiny(tmp_path_factory.mktemp("wide") / "model"), device="cpu")
    yield engine
    engine.close()


@pytest.fixture
def memory() -> Iterator[SmallMemory]:
    with small_memory() as watched:
        yield watched


def request() -> Request:
    frame = Frame(SCENE, FrameHeader(0, 0, "c"), "/image", 0.0)
    return Request(frame, build_prompt("all objects"), PixelBudget(3136, 224 * 224), 24)


class Kept:
    """The module's engine, which a worker may neither load nor close; without batches unless it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.blank_answer, self.describe = engine.name, engine.blank_answer, engine.describe
        self.answer, self.answer_batch = engine.answer, engine.answer_batch  # type: ignore[attr-defined]

    def load(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def clock() -> ManualClock:
    """It stands still but for the passes of the model and between frames."""
    return ManualClock()


@pytest.fixture
def bench(wide: TransformersEngine, memory: SmallMemory, clock: ManualClock) -> Iterator[Callable[..., WorkerBench]]:
    """Make a worker at work; each pass of the model takes `pass_s` of its clock."""
    made: list[WorkerBench] = []

    def make(engine: Engine = wide, pass_s: float = 0.0, **settings: object) -> WorkerBench:
        given = {"max_pixels": 224 * 224, "min_pixels": 3136, "max_new_tokens": 24, **settings}
        made.append(WorkerBench(Kept(engine), prompts="all objects", clock=clock, rgb=SCENE, **given))
        memory.before_pass = lambda: clock.wait(pass_s)
        made[-1].start()
        return made[-1]

    wide.forget()
    yield make
    for each in made:
        assert each.worker.stop(PATIENCE_S)


# The engine: what it says, and what it lets go of.


@pytest.mark.parametrize(("kind", "place"), [*((kind, "image") for kind in OUT_OF_MEMORY), ("cuda", "decoding")])
def test_the_engine_says_that_memory_ran_out_and_keeps_nothing(
    wide: TransformersEngine, memory: SmallMemory, kind: str, place: str
) -> None:
    wide.forget()
    whole = wide.answer(request(), never_stop)
    wide.forget()
    memory.passes, memory.raises = 0, OUT_OF_MEMORY[kind]
    memory.room_px, memory.failing = (0, set()) if place == "image" else (float("inf"), {5})
    with pytest.raises(ModelMemoryError, match=r"1 at once, max_pixels 50176, max_new_tokens 24; lower them") as caught:
        wide.answer(request(), never_stop)
    assert isinstance(caught.value, InferenceError)
    assert [kept() for kept in memory.held] == [None], "the error keeps the tensors of the failed pass"
    assert wide._generator is not None
    assert wide._generator._prefill.kept_frames == 0, "the frame's keys and values are kept"
    memory.room_px, memory.failing = float("inf"), set()
    assert wide.answer(request(), never_stop).text == whole.text


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("a kernel has failed"), InferenceError),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), DeviceLostError),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceLostError),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), DeviceLostError),
        (RuntimeError("CUDA error: unspecified launch failure"), DeviceLostError),
        (RuntimeError("NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus."), DeviceLostError),
        (RuntimeError("the oxide cup"), InferenceError),
        # Quoted by what is no error of a device.
        (ValueError("cannot read the prompt 'what does Xid 79 mean?'"), InferenceError),
    ],
    ids=str,
)
def test_other_failures_are_no_lack_of_memory(
    wide: TransformersEngine,
    memory: SmallMemory,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[InferenceError],
) -> None:
    wide.forget()
    memory.room_px, memory.raises = 0, lambda: error
    if kind is DeviceLostError:
        # A device that is gone makes no new tensor either.
        monkeypatch.setattr("vlm_perception.engines.transformers.generator.Decoder", lambda *_: 1 / 0)
    with pytest.raises(InferenceError, match=re.escape(str(error))) as caught:
        wide.answer(request(), never_stop)
    assert type(caught.value) is kind


@pytest.mark.parametrize("weight", [float("inf"), float("nan")])
@pytest.mark.parametrize("drafting", [True, False])
def test_what_is_not_a_number_is_no_answer(weight: float, drafting: bool) -> None:
    """One bad weight gave the count 0, and said that all was well."""
    engine = open_engine("tiny", drafting=drafting)
    assert engine._generator is not None
    expected = engine.answer(request(), never_stop)
    bad = engine._generator._loaded.model.model.language_model.layers[0].mlp.down_proj.weight
    good = float(bad.detach()[0, 0])
    with torch.no_grad():
        bad[0, 0] = weight
    remedy = r"instead of a probability in float32; set dtype to bfloat16 or float32"
    with pytest.raises(InferenceError, match=remedy):
        engine.answer(request(), never_stop)
    with pytest.raises(InferenceError, match=remedy):
        engine.answer_batch([request(), request()], [never_stop, never_stop])
    with torch.no_grad():
        bad[0, 0] = good
    # What is no number times nothing is no number: places that are masked must not keep any.
    assert engine.answer(request(), never_stop).tokens == expected.tokens
    engine.close()


# The worker: half the pixels, for a while.


def test_the_frame_is_asked_again_with_half_the_pixels_and_they_stay_halved(
    bench: Callable[..., WorkerBench], memory: SmallMemory
) -> None:
    b = bench()
    memory.room_px = SEEN_PX - 1
    b.show()
    assert (b.drops, len(b.results), len(b.warnings)) == ([], 1, 1)
    assert memory.images_px[0] == SEEN_PX
    assert memory.images_px[1] <= SEEN_PX // 2
    width, height = b.results[0].answer.model_wh
    assert width * height == memory.images_px[1]
    for part in ("image of a", "max_pixels 50176", f"asked again with {SEEN_PX // 2} px", "lower them", "2.00 GiB"):
        assert part in b.warnings[0]
    assert b.worker.lowered is not None
    assert b.worker.budget == PixelBudget(3136, SEEN_PX // 2)
    b.show()
    assert (len(memory.images_px), len(b.results), len(b.warnings)) == (3, 2, 1), "the next one fits at once"


def test_the_pixels_come_back(bench: Callable[..., WorkerBench], memory: SmallMemory) -> None:
    b = bench(max_new_tokens=1)
    memory.room_px = SEEN_PX - 1
    b.show()
    for _ in range(FIRST_PATIENCE - 1):
        b.show()
    assert (b.worker.lowered, b.news) == (
        None,
        ["memory was enough for a while: looking at as many pixels as before again"],
    )
    memory.room_px = float("inf")
    b.show()
    assert (memory.images_px[-1], len(b.warnings), b.drops) == (SEEN_PX, 1, [])


def test_what_does_not_fit_with_half_is_dropped_and_the_next_frame_has_a_quarter(
    bench: Callable[..., WorkerBench], memory: SmallMemory
) -> None:
    b = bench()
    memory.room_px = SEEN_PX // 4
    b.show()
    assert b.causes == ["out_of_memory"]
    assert isinstance(b.drops[0][1], ModelMemoryError)
    assert len(memory.images_px) == 2, "retried once"
    b.show()
    assert (len(b.results), len(b.drops), len(b.warnings)) == (1, 1, 2)


@pytest.mark.parametrize("shipped", [False, True])
def test_what_cannot_be_smaller_is_dropped(
    bench: Callable[..., WorkerBench], memory: SmallMemory, tiny: TransformersEngine, shipped: bool
) -> None:
    """The shipped model takes 30,000 to 38,416 px: half of that is not what it would see."""
    b = bench(tiny) if shipped else bench(max_pixels=3136)
    memory.room_px = 0
    b.show()
    assert (len(memory.images_px), b.causes) == (1, ["out_of_memory"])
    assert "fewer pixels are not possible" in b.warnings[0]
    assert b.worker.lowered is None
    memory.room_px = float("inf")
    b.show()
    assert len(b.results) == 1


@pytest.mark.parametrize(
    ("room_px", "failing", "seen_whole", "warnings"),
    [
        # Passes: constant words, image with the first prompt, the second prompt, both together, which fails.
        (float("inf"), {3}, [True, True], 1),
        # The batch, the first one alone, and then both with half: one frame is read once for both.
        (SEEN_PX - 1, set(), [True, True, False], 2),
    ],
)
def test_a_batch_that_does_not_fit_is_asked_one_by_one(
    bench: Callable[..., WorkerBench],
    memory: SmallMemory,
    room_px: float,
    failing: set[int],
    seen_whole: list[bool],
    warnings: int,
) -> None:
    b = bench(max_batch=2)
    b.worker.set_prompts(TWO_PROMPTS)
    memory.room_px, memory.failing = room_px, failing
    b.show()
    b.wait(lambda: len(b.results) == 2)
    assert {result.request.prompt.text for result in b.results} == {"all objects", "red circle"}
    assert [px == SEEN_PX for px in memory.images_px] == seen_whole
    assert (b.drops, b.worker.lowered is None, len(b.warnings)) == ([], warnings == 1, warnings)
    assert "2 at once" in b.warnings[0]
    assert "max_batch" in b.warnings[0]


# Time.


def test_an_answer_ends_within_a_pass_of_its_time_and_its_complete_objects_are_delivered(
    bench: Callable[..., WorkerBench], memory: SmallMemory, undrafted: TransformersEngine
) -> None:
    undrafted.forget()
    b = bench(undrafted, pass_s=1.0, max_new_tokens=400, timeout_s=3600.0)
    b.show()
    whole = b.results[0]
    assert (whole.answer.finish_reason, whole.truncated, len(whole.objects)) == ("stop", False, 2)
    undrafted.forget()
    timeout_s = float(whole.answer.passes * 3 // 4)
    b.apply(timeout_s=timeout_s)
    began = memory.passes
    b.show()
    cut = b.results[1]
    assert (cut.answer.finish_reason, cut.truncated) == ("timeout", True)
    # The first pass comes before the model begins to ask whether to stop.
    assert timeout_s < memory.passes - began <= timeout_s + 2
    assert 1 <= len(cut.objects) < len(whole.objects)
    assert cut.objects == whole.objects[: len(cut.objects)]
    assert whole.answer.text.startswith(cut.answer.text)


@pytest.mark.parametrize(("timeout_s", "is_empty"), [(3.5, False), (0.5, True)])
def test_who_waits_for_one_answer_gets_what_there_is_in_time(
    bench: Callable[..., WorkerBench], timeout_s: float, is_empty: bool
) -> None:
    b = bench(pass_s=1.0, timeout_s=timeout_s, frame_policy="on_demand")
    future = b.worker.detect_once()
    b.show()
    answer = future.result(PATIENCE_S).answer
    assert (answer.finish_reason, answer.text == "", b.drops) == ("timeout", is_empty, [])


def test_a_new_prompt_is_no_time_out(
    bench: Callable[..., WorkerBench], memory: SmallMemory, clock: ManualClock
) -> None:
    b = bench(timeout_s=3.5)

    def pass_by() -> None:
        clock.wait(1.0)
        if memory.passes == 3:
            b.worker.set_prompts((build_prompt("red circle"),))

    memory.before_pass = pass_by
    b.show()
    assert (b.causes, b.results) == (["prompt_changed"], [])


def test_a_row_of_a_batch_times_out_alone(
    bench: Callable[..., WorkerBench], memory: SmallMemory, clock: ManualClock
) -> None:
    """The first prompt waits for the second one to be read; each has its own time."""
    b = bench(max_batch=2, timeout_s=10.0, max_new_tokens=8)
    b.worker.set_prompts(TWO_PROMPTS)
    # Before the second prompt is read, and once more when both are being written.
    memory.before_pass = lambda: clock.wait({2: 6.0, 5: 6.0}.get(memory.passes, 0.0))
    b.show()
    b.wait(lambda: len(b.results) == 2)
    ends = {result.request.prompt.text: result.answer.finish_reason for result in b.results}
    assert ends["all objects"] == "timeout"
    assert ends["red circle"] in ("stop", "length")


def test_the_worker_says_for_how_long_it_has_been_asking(
    bench: Callable[..., WorkerBench], memory: SmallMemory, clock: ManualClock
) -> None:
    b = bench(timeout_s=100.0)
    seen: list[tuple[float | None, float]] = []

    def pass_by() -> None:
        clock.wait(1.0)
        running = b.worker.running
        assert running is not None
        seen.append((b.worker.asking_s, running.overdue_s))

    memory.before_pass = pass_by
    assert b.worker.asking_s is None
    b.show()
    assert seen[:3] == [(1.0, -99.0), (2.0, -99.0), (3.0, -98.0)], "counted from the first layer of the first pass"
    b.wait(lambda: b.worker.asking_s is None)
