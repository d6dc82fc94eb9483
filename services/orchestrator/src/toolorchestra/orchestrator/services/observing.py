"""Telling followers of a run what happens: in this process at once, in other processes by signals, and in spans."""

import json
from collections.abc import Sequence

from typing_extensions import override

from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.loop.context import Observer
from toolorchestra.core.loop.facts import Asked
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.tasks import run_channel
from toolorchestra.orchestrator.services.hub import Channel, Delta, Superseded
from toolorchestra.orchestrator.services.outbox import Outbox


class HubObserver(Observer):
    """Serves one run that this process drives."""

    def __init__(self, run_id: str, channel: Channel, outbox: Outbox) -> None:
        self._channel_name = run_channel(run_id)
        self._channel = channel
        self._outbox = outbox

    @override
    async def stored(self, facts: Sequence[Stamped]) -> None:
        self._channel.publish(facts)
        self._outbox.post(self._channel_name, json.dumps({"seq": facts[-1].seq}))
        for stamped in facts:
            if isinstance(stamped.fact, Asked) and stamped.fact.attempt > 1:
                self._supersede(stamped.fact.turn, stamped.fact.attempt)

    @override
    async def delta(self, kind: DeltaKind, text: str) -> None:
        self._channel.publish([Delta(kind, text)])
        self._outbox.post(self._channel_name, json.dumps({"delta": kind, "text": text}))

    def _supersede(self, turn: int, attempt: int) -> None:
        """Also the first attempt of another process, which may have sent text, is superseded by one of this process."""
        self._channel.publish([Superseded(turn, attempt)])
        body = {"superseded": {"turn": turn, "attempt": attempt}}
        self._outbox.post(self._channel_name, json.dumps(body))
