"""Every error a user may meet, each with its exit code.

SpaceError                  1  our own fault unless a child says otherwise
├── UsageFault              2  flags, recipe or configuration
├── GateRefusal             3  a gate failed: policy, retain budget, nothing near, unknown concept
├── ArtifactFault           4  an artifact or checkpoint is missing, stale, altered or of an unknown family
├── EnvironmentFault        5  memory, disk, permission, device or a missing extra
└── NetworkFault            6  the hub, or offline and not cached
"""

import errno

OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")
"""Words of allocators, in lower case: torch's own on each system, a device's, and the operating system's."""
AS_WRITTEN = "take the folder as `space` wrote it"
RERUN = "it was edited, or written by another version of `space`: run its stage again"
RESTORE = "restore it, or run the stage that wrote the folder again"
REFETCH = "copy or download the checkpoint again"
PASS_FOLDER = "pass the folder of a Hugging Face checkpoint"
READABLE = "change its permissions"
"""Hints that fit many things that can be wrong with a file or a folder."""


class SpaceError(Exception):
    """An error with an exit code and a hint.

    Args:
        message: What was found and what was needed, one line.
        hint: The command or action that mends it.
        figures: Numbers behind a refusal, for `--json`.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", figures: dict[str, float] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.figures = figures or {}


class UsageFault(SpaceError):
    """A flag, recipe or configuration cannot be used."""

    exit_code = 2


class GateRefusal(SpaceError):
    """The work was possible but a gate forbids its result."""

    exit_code = 3


class ArtifactFault(SpaceError):
    """A folder or checkpoint is missing, stale, altered, corrupt or of an unknown family."""

    exit_code = 4


class EnvironmentFault(SpaceError):
    """The machine lacks memory, disk, permission, a device or a package."""

    exit_code = 5


class NetworkFault(SpaceError):
    """The hub cannot be reached, or offline mode is on and the file is not cached."""

    exit_code = 6


def is_out_of_memory(failure: BaseException) -> bool:
    """Tell whether a failure means that the machine, or its device, has no memory left.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"))
        True
    """
    if isinstance(failure, OSError):
        return failure.errno == errno.ENOMEM
    # torch raises a bare RuntimeError, and safetensors an error of its own, where they cannot map a file.
    foreign = isinstance(failure, RuntimeError) or type(failure).__name__ == "SafetensorError"
    return isinstance(failure, MemoryError) or (foreign and any(w in str(failure).lower() for w in OUT_OF_MEMORY))
