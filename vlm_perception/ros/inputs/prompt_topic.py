"""What is looked for: `~/prompt` and the parameter `prompt` in, the worker's prompts and `~/active_prompt` out."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from vlm_perception.errors import PromptError
from vlm_perception.prompts.builder import load_prompts
from vlm_perception.prompts.standing import parse_prompts
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.inputs.cameras import Cameras
from vlm_perception.ros.inputs.prompt_subscription import PromptSubscription
from vlm_perception.ros.lifecycle.services import LifecycleServices
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.settings import Settings
from vlm_perception.types import Prompt, Task
from vlm_perception.worker.worker import Worker

# Kept and offered to everyone who comes later.
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# What follows faster is logged when it has lasted that long.
_TELL_PERIOD_S = 0.5


class PromptTopic:
    """Reads prompts and hands them to the worker. Used on the executor.

    Args:
        context: Of the node.
        worker: Is asked the prompts.
        cameras: Hear latched images again when there are new prompts.
        lifecycle: Tells why nothing can be answered at all.

    Raises:
        SettingsError: The prompts file cannot be used.
        PromptError: The prompt of the settings cannot be used.
    """

    def __init__(
        self,
        context: NodeContext,
        worker: Worker,
        cameras: Cameras,
        lifecycle: LifecycleServices,
    ) -> None:
        self._context, self._worker, self._cameras, self._lifecycle = context, worker, cameras, lifecycle
        self._counters, self._tell_throttle = context.counters.total, Throttle(_TELL_PERIOD_S)
        self._untold: tuple[Prompt, ...] | None = None
        self._replaced = 0
        settings = context.settings
        self._prompts = load_prompts(settings.prompts_file)
        self._active = ActivePrompt(context.node)
        self.use(settings.prompt, self.read(settings.prompt, settings))
        PromptSubscription(context.node, "~/prompt", self.hear)
        self._timer = steady_timer(context.node, _TELL_PERIOD_S, self._tell)

    @property
    def text(self) -> str:
        """What is looked for, as it was sent."""
        return self._active.text

    def reload(self) -> None:
        """Read the prompts file again, as the settings name it now, and ask what is looked for in its words.

        Raises:
            SettingsError: It cannot be used; nothing has changed.
            PromptError: What is looked for cannot be said in its words.
        """
        self._prompts = load_prompts(self._context.settings.prompts_file)
        self.use(self.text, self.read(self.text, self._context.settings))

    def read(self, text: str, settings: Settings) -> tuple[Prompt, ...]:
        """Make prompts of a text, without asking them.

        Raises:
            PromptError: It cannot be used.
        """
        return parse_prompts(text, self._prompts.build, settings.task)

    def build(self, text: str, task: Task) -> Prompt:
        """Make one prompt of somebody's own question, whatever is asked beside it.

        Raises:
            PromptError: It cannot be used.
        """
        prompt = self._prompts.build(text, task)
        self._tell_neutralised(prompt.neutralised)
        return prompt

    def use(self, text: str, prompts: tuple[Prompt, ...]) -> None:
        """Ask these prompts from now on, and publish the text that they were made of."""
        if self._worker.set_prompts(prompts):
            self._cameras.want_image()
            self._replaced += self._untold is not None
            self._untold = prompts
            self._tell()
            self._tell_neutralised(sum(prompt.neutralised for prompt in prompts))
        self._active.publish(text.strip())

    def hear(self, text: str) -> None:
        """Take a prompt as it was sent; one that cannot be used is counted and logged, and the old one stays."""
        self._counters.count_prompt()
        try:
            self.use(text, self.read(text, self._context.settings))
        except PromptError as error:
            # A slip of the pen must not stop a running detection: the old prompt stays.
            count = self._counters.count_error("prompt")
            self._context.error("prompt", f"{error}; going on with {self._active.text!r} ({count} refused so far)")
            self._active.publish(self._active.text)
        else:
            if problem := self._lifecycle.problem:
                self._context.error("problem", f"the prompt cannot be answered: {problem}")

    def _tell(self) -> None:
        """Log what is looked for, not more often than anybody could read it."""
        if self._untold is None or not self._tell_throttle.allows("looking for"):
            return
        prompts, info = self._untold, self._context.info
        if self._replaced:
            info(f"{self._replaced} prompts were replaced by the next one within {_TELL_PERIOD_S:g} s")
        for prompt in prompts:
            info(f"looking for {prompt.text!r} ({prompt.task.value})")
        if not prompts:
            info("detection stopped: no prompt")
        self._untold, self._replaced = None, 0

    def _tell_neutralised(self, tokens: int) -> None:
        if tokens:
            count = self._counters.count_error("prompt_chat_tokens", tokens)
            text = f"chat tokens in a prompt were made harmless ({count} so far)"
            self._context.warn("prompt_chat_tokens", text)


class ActivePrompt:
    """Publishes what is looked for now; an empty text means nothing."""

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(String, "~/active_prompt", _LATCHED)
        self.text = ""

    def publish(self, text: str) -> None:
        """Say it, and keep it for those who come later."""
        self.text = text
        self._publisher.publish(String(data=text))
