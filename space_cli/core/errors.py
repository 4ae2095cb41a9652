"""Every error a user may meet, each with its exit code.

SpaceError                  1  our own fault unless a child says otherwise
├── UsageFault              2  flags, recipe or configuration
├── GateRefusal             3  a gate failed: policy, retain budget, nothing near, unknown concept
├── ArtifactFault           4  an artifact or checkpoint is missing, stale, altered or of an unknown family
├── EnvironmentFault        5  memory, disk, permission, device or a missing extra
└── NetworkFault            6  the hub, or offline and not cached
"""


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
