"""What is looked for: `~/prompt` and the parameter `prompt` in, the worker's questions and `~/active_prompt` out."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from vlm_perception.errors import PromptError
from vlm_perception.prompts.builder import load_prompts
from vlm_perception.prompts.queries import parse_prompts
from vlm_perception.ros.counters import Counters
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.inputs.prompt_subscription import PromptSubscription
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.settings import Settings
from vlm_perception.types import Prompt
from vlm_perception.worker.worker import Worker

# Kept and offered to everyone who comes later.
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_WARNING_PERIOD_S = 5.0
# What follows faster is logged when it has lasted that long.
_TELL_PERIOD_S = 0.5


class PromptTopic:
    """Reads prompts and hands them to the worker. Used on the executor.

    Args:
        node: Owner of the topics.
        worker: Is asked the questions.
        health: Counts prompts that cannot be used.
        settings: Tells the settings in force: template file and task.
        problem: Tells why nothing can be answered at all; empty when it can.
        want_image: Called when there are new questions, so that latched images are heard again.

    Raises:
        SettingsError: The prompts file cannot be used.
        PromptError: The prompt of the settings cannot be used.
    """

    def __init__(
        self,
        node: Node,
        worker: Worker,
        health: Counters,
        settings: Callable[[], Settings],
        problem: Callable[[], str],
        want_image: Callable[[], None],
    ) -> None:
        self._node, self._worker, self._health = node, worker, health
        self._settings, self._problem, self._want_image = settings, problem, want_image
        self._throttle, self._tell_throttle = Throttle(_WARNING_PERIOD_S), Throttle(_TELL_PERIOD_S)
        self._untold: tuple[Prompt, ...] | None = None
        self._replaced = 0
        self._prompts = load_prompts(settings().prompts_file)
        self._active = ActivePrompt(node)
        self.use(settings().prompt, self.read(settings().prompt, settings()))
        PromptSubscription(node, "~/prompt", self.hear)
        self._timer = steady_timer(node, _TELL_PERIOD_S, self._tell)

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
        self._prompts = load_prompts(self._settings().prompts_file)
        self.use(self.text, self.read(self.text, self._settings()))

    def read(self, text: str, settings: Settings) -> tuple[Prompt, ...]:
        """Make questions of a text, without asking them.

        Raises:
            PromptError: It cannot be used.
        """
        return parse_prompts(text, self._prompts.build, settings.task)

    def use(self, text: str, prompts: tuple[Prompt, ...]) -> None:
        """Ask these questions from now on, and publish the text that they were made of."""
        if self._worker.set_prompts(prompts):
            self._want_image()
            self._replaced += self._untold is not None
            self._untold = prompts
            self._tell()
            self._tell_neutralised(sum(prompt.neutralised for prompt in prompts))
        self._active.publish(text.strip())

    def hear(self, text: str) -> None:
        """Take a prompt as it was sent; one that cannot be used is counted and logged, and the old one stays."""
        self._health.count_prompt()
        log = self._node.get_logger()
        try:
            self.use(text, self.read(text, self._settings()))
        except PromptError as error:
            # A slip of the pen must not stop a running detection: the old prompt stays.
            count = self._health.count_error("prompt")
            if self._throttle.allows("prompt"):
                log.error(f"{error}; going on with {self._active.text!r} ({count} refused so far)")
            self._active.publish(self._active.text)
        else:
            if (problem := self._problem()) and self._throttle.allows("problem"):
                log.error(f"the prompt cannot be answered: {problem}")

    def _tell(self) -> None:
        """Log what is looked for, not more often than anybody could read it."""
        if self._untold is None or not self._tell_throttle.allows("looking for"):
            return
        log, prompts = self._node.get_logger(), self._untold
        if self._replaced:
            log.info(f"{self._replaced} prompts were replaced by the next one within {_TELL_PERIOD_S:g} s")
        for prompt in prompts:
            log.info(f"looking for {prompt.text!r} ({prompt.task.value})")
        if not prompts:
            log.info("detection stopped: no prompt")
        self._untold, self._replaced = None, 0

    def _tell_neutralised(self, tokens: int) -> None:
        if tokens:
            count = self._health.count_error("prompt_chat_tokens", tokens)
            if self._throttle.allows("prompt_chat_tokens"):
                self._node.get_logger().warning(f"chat tokens in a prompt were made harmless ({count} so far)")


class ActivePrompt:
    """Publishes what is looked for now; an empty text means nothing."""

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(String, "~/active_prompt", _LATCHED)
        self.text = ""

    def publish(self, text: str) -> None:
        """Say it, and keep it for those who come later."""
        self.text = text
        self._publisher.publish(String(data=text))
