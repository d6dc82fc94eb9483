"""The HTTP server of a replica: told to stop, it first hands its runs over, and answers their clients meanwhile."""

import asyncio
import socket
from time import monotonic
from typing import Final

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

from toolorchestra.orchestrator.factory import Factory

LEAST_S: Final = 2  # for connections, when runs took all of the time
FAREWELL_S: Final = 0.5  # of it, to tell who still waits that another replica will answer


class DrainingServer(uvicorn.Server):
    """uvicorn, with the drain before the end of its connections: whoever waits here follows a run to its next owner.

    Runs and connections share one time: what the runs do not need of it the connections may have.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        factory = getattr(self._app.state, "factory", None)
        if isinstance(factory, Factory):  # not there when the start failed
            began = monotonic()
            await factory.drain()
            left_s = factory.settings.drain_ms / 1_000 - (monotonic() - began)
            self.config.timeout_graceful_shutdown = grace_s = max(LEAST_S, round(left_s))
            asyncio.get_running_loop().call_later(grace_s - FAREWELL_S, factory.closing.set)
        await super().shutdown(sockets)
