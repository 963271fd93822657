"""`~/where_is` answers by words where things were seen, and `~/forget` forgets them; neither asks the model."""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from vlm_perception_msgs.msg import RememberedObject as RememberedObjectMessage
from vlm_perception_msgs.srv import Forget, WhereIs

from vlm_perception.errors import PromptError, VlmPerceptionError
from vlm_perception.prompts.builder import MAX_PROMPT_CHARS
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import Done
from vlm_perception.ros.memory.keeper import MemoryKeeper
from vlm_perception.ros.outputs.result_messages import sendable
from vlm_perception.world.memory import Memory
from vlm_perception.world.memory_file import MemoryReader
from vlm_perception.world.names import called, none_called, perhaps_called
from vlm_perception.world.remembered import RememberedObject

_Response = TypeVar("_Response", WhereIs.Response, Forget.Response)
_TOLD_LETTERS = 80


class MemoryServices:
    """Offers both, whatever state the node is in.

    Args:
        context: Of the node.
        memory: Is asked.
    """

    def __init__(self, context: NodeContext, memory: MemoryKeeper) -> None:
        self._context, self._memory = context, memory
        # In the node's own group nothing else would be called while somebody waits for the disk.
        group = ReentrantCallbackGroup()
        context.node.create_service(WhereIs, "~/where_is", self._on_where_is, callback_group=group)
        context.node.create_service(Forget, "~/forget", self._on_forget, callback_group=group)

    async def _on_where_is(self, request: WhereIs.Request, response: WhereIs.Response) -> WhereIs.Response:
        return await self._answer(lambda memory: where_is(memory, request), response)

    async def _on_forget(self, request: Forget.Request, response: Forget.Response) -> Forget.Response:
        now_ns = self._context.node.get_clock().now().nanoseconds
        return await self._answer(lambda memory: forget(memory, request, now_ns), response)

    async def _answer(self, question: Callable[[Memory], _Response], response: _Response) -> _Response:
        answer = self._memory.ask(question)
        await Done(answer, self._context.executor)
        try:
            return answer.result()
        except VlmPerceptionError as error:
            response.message = sendable(str(error))
            return response


def where_is(memory: MemoryReader, request: WhereIs.Request) -> WhereIs.Response:
    """Answer by words; see WhereIs.srv.

    Raises:
        MemoryFileError: The file cannot be read.
        PromptError: The text is too long.
    """
    _check(request.text)
    known, asked = memory.objects(), request.text
    found = called(known, asked) if asked.strip() else known
    perhaps = () if found else perhaps_called(known, asked)
    if not found and not perhaps:
        return WhereIs.Response(message=_nothing(known, asked))
    wanted = (found or perhaps)[: request.max_objects or None]
    return WhereIs.Response(
        success=True,
        message=sendable(f"nothing is called exactly {asked[:_TOLD_LETTERS]!r}; these may be meant") if perhaps else "",
        objects=[
            remembered_message(known, memory.cutout(known.id) if request.with_cutouts else None) for known in wanted
        ],
    )


def forget(memory: Memory, request: Forget.Request, now_ns: int) -> Forget.Response:
    """Forget what is named; see Forget.srv.

    Args:
        memory: What holds it.
        request: Names it.
        now_ns: The time now, by the clock of the images' stamps.

    Raises:
        MemoryFileError: The file cannot be read or written.
        PromptError: The text is too long.
    """
    _check(request.text)
    for_ns = request.not_seen_for.sec * 1_000_000_000 + request.not_seen_for.nanosec
    given = {"text": bool(request.text.strip()), "ids": bool(request.ids), "not_seen_for": for_ns != 0}
    named = [name for name, is_given in {**given, "all": request.all}.items() if is_given]
    if len(named) != 1:
        what = " and ".join(named) or "nothing"
        return Forget.Response(message=f"{what} is given: give one of text, ids, not_seen_for and all")
    if for_ns < 0:
        return Forget.Response(message=f"not_seen_for is {for_ns * 1e-9:g} s: give more than 0")
    known = memory.objects()
    if given["text"]:
        called = memory.find(request.text)
        if not called:
            return Forget.Response(message=_nothing(known, request.text))
        going = [each.id for each in called]
    elif given["ids"]:
        going = list(request.ids)
    else:
        until_ns = now_ns - for_ns
        going = [each.id for each in known if request.all or each.last_seen_ns < until_ns]
    count = memory.forget(going)
    return Forget.Response(success=True, forgotten=count, message=f"{count} of {len(known)} things were forgotten")


def remembered_message(known: RememberedObject, cutout: bytes | None = None) -> RememberedObjectMessage:
    """Write what is remembered of one thing; see RememberedObject.msg."""
    message = RememberedObjectMessage(
        id=known.id,
        label=sendable(known.label),
        prompt=sendable(known.prompt),
        phrase=sendable(known.phrase),
        camera=sendable(known.camera),
        size=Vector3(**dict(zip("xyz", known.size_m, strict=True))),
        belief=known.belief,
        best_score=math.nan if known.best_score is None else known.best_score,
        times_seen=known.times_seen,
        times_missed=known.times_missed,
        first_seen=_time(known.first_seen_ns),
        last_seen=_time(known.last_seen_ns),
    )
    position = Point(**dict(zip("xyz", known.position_m, strict=True)))
    pose = Pose(position=position, orientation=Quaternion(w=1.0))
    message.pose = PoseStamped(header=Header(frame_id=sendable(known.frame_id)), pose=pose)
    if cutout is not None:
        message.cutout = CompressedImage(header=Header(stamp=message.last_seen), format="jpeg")
        message.cutout.data = array.array("B", cutout)
    return message


def _check(text: str) -> None:
    """Refuse what would keep the memory busy: words are compared with those of every thing."""
    if len(text) > MAX_PROMPT_CHARS:
        raise PromptError(f"text has {len(text)} characters, the limit is {MAX_PROMPT_CHARS}: send a shorter one")


def _nothing(known: Sequence[RememberedObject], text: str) -> str:
    return sendable(none_called(known, text[:_TOLD_LETTERS]) if known or text.strip() else "nothing is remembered yet")


def _time(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
