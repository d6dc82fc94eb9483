"""``/healthz``, ``/readyz`` and ``/metrics``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from toolorchestra.operator.factory import Operator

STUCK_S: Final = 600.0  # the longest that a resource may wait for a worker


@asynccontextmanager
async def serve_health(operator: Operator) -> AsyncIterator[None]:
    """Serve as long as the block lasts."""
    app = web.Application()
    app.add_routes([
        web.get("/healthz", _healthz), web.get("/readyz", _readyz), web.get("/metrics", _metrics),
    ])  # fmt: skip
    app[_OPERATOR] = operator
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, operator.settings.host, operator.settings.port).start()
        yield
    finally:
        await runner.cleanup()


_OPERATOR: Final = web.AppKey("operator", Operator)


async def _healthz(request: web.Request) -> web.Response:
    """Alive: every watch speaks, and the queue moves. Otherwise a new start helps."""
    operator = request.app[_OPERATOR]
    problems = [f"the watch of {kind} is silent" for kind in operator.watches.silent()]
    if operator.queue.oldest_s() > STUCK_S:
        problems.append("the queue does not move")
    return _answer(problems)


async def _readyz(request: web.Request) -> web.Response:
    """Ready: everything there is was seen once."""
    operator = request.app[_OPERATOR]
    return _answer([] if operator.sweeper.swept else ["the first look at everything is not done"])


async def _metrics(request: web.Request) -> web.Response:
    operator = request.app[_OPERATOR]
    operator.metrics.queue.set(operator.queue.depth)
    for kind, seconds in operator.watches.silence():
        operator.metrics.silence.labels(kind).set(seconds)
    return web.Response(body=operator.metrics.render(), headers={"content-type": "text/plain; version=0.0.4"})


def _answer(problems: list[str]) -> web.Response:
    return web.Response(status=503 if problems else 200, text="; ".join(problems) or "ok")
