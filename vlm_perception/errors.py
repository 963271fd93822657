"""The one exception tree of the package.

    VlmPerceptionError
    ├── SettingsError       a parameter value, file or combination that cannot be used
    ├── PromptError         a prompt that cannot be turned into an instruction
    ├── ImageError          an image that cannot be read as pixels
    ├── GeometryError       an image size the model family cannot process
    ├── DatasetError        a file with truth to compare answers with that cannot be used
    ├── OutputError         a file or folder that results cannot be written to
    ├── MemoryFileError     the file of what is remembered cannot be read or written
    ├── LifecycleError      a change of the node's state that is not possible now
    ├── NoAnswerError       an answer that somebody waits for and that cannot be given
    └── EngineError         the model
        ├── ModelLoadError  it cannot be loaded: wrong path, no hub, too little memory
        └── InferenceError  it failed while answering
            ├── ModelMemoryError  memory ran out; a smaller image may fit
            ├── DeviceLostError   its device is gone; no answer can follow in this process
            └── ServerUnavailableError  no server can be asked now; a later answer may be given

Every message names the value, the limit it broke and the remedy. A reply that cannot be parsed is
not an exception: it becomes a `Reject` (see `types.py`), because the rest of the reply may be good.
"""


class VlmPerceptionError(Exception):
    """Base of every error this package raises on purpose."""


class SettingsError(VlmPerceptionError):
    """A setting is out of its bounds, of the wrong type, or contradicts another one."""


class PromptError(VlmPerceptionError):
    """A prompt is too long or cannot be turned into an instruction."""


class ImageError(VlmPerceptionError):
    """An image message or file does not hold the pixels it claims to hold.

    Attributes:
        cause: Short counter name, such as `unknown_encoding` or `truncated`.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class GeometryError(VlmPerceptionError):
    """An image size or aspect ratio is outside what the model's resize rule accepts."""


class DatasetError(VlmPerceptionError):
    """A file with truth to compare answers with is not of its format, or has nothing to ask."""


class OutputError(VlmPerceptionError):
    """Results cannot be written where they should go: no permission, no space, or something is in the way."""


class MemoryFileError(VlmPerceptionError):
    """The file of what is remembered cannot be used; what stood in it still does.

    Attributes:
        cause: `broken`: damaged, or no such file at all; `foreign`: of another program; `newer`: of a later version;
            `other_frame`: its places are in another frame; `full`: the disk is; `busy`: another process writes;
            `unwritable`: no permission, no folder, or the disk fails. After the last three a later try may succeed.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class LifecycleError(VlmPerceptionError):
    """The node's state cannot change like that now; the message says what is possible."""


class NoAnswerError(VlmPerceptionError):
    """Somebody waits for an answer that cannot be given: no prompt, no camera, paused, no model, or a bad frame."""


class EngineError(VlmPerceptionError):
    """Base of everything that goes wrong inside or around the model."""


class ModelLoadError(EngineError):
    """The model cannot be loaded; the message says where it looked and what to do."""


class InferenceError(EngineError):
    """The loaded model failed on one request; the next request may succeed."""


class ModelMemoryError(InferenceError):
    """The memory of the device or the machine did not hold one request; fewer pixels or tokens may fit."""


class DeviceLostError(InferenceError):
    """The model's device failed in a way that no later call of this process gets over."""


class ServerUnavailableError(InferenceError):
    """None of the servers can be asked now; nothing is wrong with this process, and they may come back."""
