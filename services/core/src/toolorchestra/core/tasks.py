"""What the orchestrator and the workers agree on: one task, its queues, and the signal that a call has ended."""

from typing import Final

RUN_CALL: Final = "toolorchestra.run_call"  # its only argument is a call id
CALLS_QUEUE: Final = "toolorchestra.calls"
SANDBOX_QUEUE: Final = "toolorchestra.sandbox"


def queue_of(execution: str) -> str:
    """The queue for a call of this execution (``queued`` or ``sandbox``)."""
    return SANDBOX_QUEUE if execution == "sandbox" else CALLS_QUEUE


def call_channel(run_id: str) -> str:
    """The signal channel on which workers tell that a call of the run has ended; the payload is the call id."""
    return f"toolorchestra:calls:{run_id}"


def run_channel(run_id: str) -> str:
    """The signal channel of a run: new facts, passing text, and wishes to cancel, as JSON."""
    return f"toolorchestra:run:{run_id}"
