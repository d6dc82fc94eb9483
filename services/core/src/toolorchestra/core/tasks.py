"""What the orchestrator and the workers agree on: one task, its queues, and signals of calls and runs."""

from typing import Final

RUN_CALL: Final = "toolorchestra.run_call"  # its only argument is a call id
CALLS_QUEUE: Final = "toolorchestra.calls"
SANDBOX_QUEUE: Final = "toolorchestra.sandbox"
RELEASED_CHANNEL: Final = "toolorchestra:released"  # signals of a replica that gave leases back: its runs wait for an owner


def queue_of(execution: str) -> str:
    """The queue for a call of this execution (``queued`` or ``sandbox``)."""
    return SANDBOX_QUEUE if execution == "sandbox" else CALLS_QUEUE


def call_channel(run_id: str) -> str:
    """The signal channel on which workers tell that a call of the run has ended; the payload is the call id."""
    return f"toolorchestra:calls:{run_id}"


def over_channel(call_id: str) -> str:
    """The signal channel on which the run's owner tells the worker that nobody waits for the call any more."""
    return f"toolorchestra:over:{call_id}"


def control_channel(run_id: str) -> str:
    """The signal channel on which a run's owner hears that its end is wished; the payload says by whom."""
    return f"toolorchestra:control:{run_id}"


def run_channel(run_id: str) -> str:
    """The signal channel of a run, for those who follow it: new facts and passing text, as JSON."""
    return f"toolorchestra:run:{run_id}"
