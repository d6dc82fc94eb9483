"""The HTTP server of a replica: told to stop, it first hands its runs over, and answers their clients meanwhile."""

import socket

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

from toolorchestra.orchestrator.factory import Factory


class DrainingServer(uvicorn.Server):
    """uvicorn, with the drain before the end of its connections: whoever waits here follows a run to its next owner."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        factory = getattr(self._app.state, "factory", None)
        if isinstance(factory, Factory):  # not there when the start failed
            await factory.drain()
        await super().shutdown(sockets)
