"""Pass-throughs: what is stored of each end, and what clients are told who come early, in the middle, late, or elsewhere."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from functools import partial

import pytest

from tests.unit.orchestrator.making import RUN, asked, bodies, deltas, ended, flow, log, wish
from toolorchestra.core.chat import ChatRequest, Meter, ModelRefusedError
from toolorchestra.core.errors import EgressDeniedError, UnavailableError, UpstreamError, UpstreamTimeoutError
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.loop.state import fold
from toolorchestra.core.pricing import Usage
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.revision import pin_expert
from toolorchestra.core.testing import a_catalog, an_expert
from toolorchestra.ledger.transitions import RunContext
from toolorchestra.orchestrator.services.answering import LiveAnswer, StoredAnswer
from toolorchestra.orchestrator.services.manager import Wishes
from toolorchestra.orchestrator.services.passed import Envelope, PassedCallError, PassedEnd
from toolorchestra.orchestrator.services.passing import STOPPED, PassedCall, PassedRun, Settlement
from toolorchestra.orchestrator.testing import EPOCH

MODEL = pin_expert(a_catalog(an_expert("small")), "default", "small", BudgetPolicySpec()).manager
USED = Usage(10, 3)
PRICE_NANO_USD = 10 * 1_000 + 3 * 2_000


def chunk(text="", *, finish=None, **delta):
    return {"choices": [{"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}], "model": "m"}


def tool_call(name, arguments):
    return {
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]
    }


class Model:
    """Says its chunks when it is let; then fails, hangs or ends."""

    def __init__(self, *chunks, error=None, hang=False, used=USED, exact=True, paced=False):
        self.chunks, self.error, self.hang = chunks, error, hang
        self.used, self.exact = used, exact
        self.pace = asyncio.Semaphore(0 if paced else 100)
        self.closed = False

    async def stream(self, request: ChatRequest):
        request.meter.sent = bool(self.used.input)
        request.meter.usage = self.used
        try:
            for one in self.chunks:
                await self.pace.acquire()
                yield one
            if self.error is not None:
                raise self.error
            if self.hang:
                await asyncio.sleep(3_600)
            request.meter.exact = self.exact
        finally:
            self.closed = True


class MemorySettlement(Settlement):
    """Keeps what was stored. ``fenced``: another process took the run."""

    def __init__(self, *, fenced=False):
        self.facts, self.settles, self.fenced = [], [], fenced

    async def store(self, call, facts, settle):
        self.facts, self.settles = list(facts), [settle]
        return () if self.fenced else tuple(Stamped(3 + n, EPOCH, fact) for n, fact in enumerate(facts))


class Bench:
    def __init__(self, model, *, fenced=False, **fields):
        self.settlement, self.told, self.wishes = MemorySettlement(fenced=fenced), [], Wishes()
        request = ChatRequest(MODEL.target, [], max_tokens=64, timeout_ms=1_000)
        call = PassedCall(RunContext(RUN, "default", "key", "me"), MODEL, request, 2)
        self.run = PassedRun(call, model, self.settlement, lambda run_id, facts: self.told.extend(facts))
        self.left = []
        self.envelope = Envelope(RUN, wish(**fields), 1, simulated=False)

    def client(self):
        return LiveAnswer(self.run, self.envelope, partial(self.left.append, "client"))

    def drive(self):
        return asyncio.create_task(self.run.drive(self.wishes))

    @property
    def stored(self):
        return fold(RUN, log(asked()) + [Stamped(3 + n, EPOCH, fact) for n, fact in enumerate(self.settlement.facts)])

    def later(self, *items):
        """A client that comes when all is stored, or (with ``items``) follows another process."""
        state = fold(RUN, log(asked())) if items else self.stored
        return StoredAnswer(state, flow(items), self.envelope, partial(self.left.append, "client"), 60)


async def read(answer):
    await answer.begun()
    async with aclosing(answer.events()) as events:
        return [event async for event in events]


SAID = (chunk("Par"), chunk("is"), chunk(finish="stop"))


async def test_the_models_own_chunks_pass_under_our_id_and_name():
    bench = Bench(Model(*SAID), stream=True, stream_options={"include_usage": True})
    client = bench.client()
    await bench.drive()
    events = await read(client)
    assert deltas(events, "content") == "Paris"
    assert {body["id"] for body in bodies(events)} == {f"chatcmpl-{RUN}"}
    assert {body["model"] for body in bodies(events)} == {"main"}
    assert [c["finish_reason"] for body in bodies(events) for c in body["choices"]] == [None, None, "stop"]
    assert bodies(events)[-1]["toolorchestra"]["cost_nano_usd"] == PRICE_NANO_USD
    assert events[-1] == "data: [DONE]\n\n"


async def test_the_end_is_stored_told_and_settled_by_the_stated_usage():
    bench = Bench(Model(*SAID))
    await bench.drive()
    assert [fact.type for fact in bench.settlement.facts] == ["decided", "ended"]
    assert [s.fact for s in bench.told] == bench.settlement.facts
    (settle,) = bench.settlement.settles
    assert (settle.hold, settle.actual_nano_usd, settle.estimate) == (f"{RUN}/1/0/1", PRICE_NANO_USD, False)
    assert bench.stored.ended.answer == "Paris"


@pytest.mark.parametrize("fenced", [False, True])
async def test_a_client_of_this_process_gets_its_answer_even_if_another_took_the_run(fenced):
    bench = Bench(Model(*SAID), fenced=fenced)
    client = bench.client()
    await bench.drive()
    assert (await client.whole())["choices"][0]["message"]["content"] == "Paris"
    assert bool(bench.told) is not fenced


async def test_who_comes_in_the_middle_gets_what_was_said_and_then_the_rest():
    model = Model(*SAID, paced=True)
    bench = Bench(model, stream=True)
    first, driving = bench.client(), bench.drive()
    model.pace.release()
    await first.begun()
    second = bench.client()
    for _ in range(2):
        model.pace.release()
    await driving
    third = bench.client()
    events = await read(second)
    assert [body["choices"][0]["delta"]["content"] for body in bodies(events)] == ["Par", "is", ""]
    assert deltas([e async for e in first.events()], "content") == "Paris"
    assert deltas(await read(third), "content") == "Paris"


@pytest.mark.parametrize("stream", [False, True])
async def test_who_comes_later_gets_all_that_was_said_as_one_piece(stream):
    reasoned = (chunk(reasoning_content="hm"), chunk("A", **tool_call("look", '{"a":')), chunk(finish="tool_calls"))
    bench = Bench(Model(*reasoned), stream=stream)
    early = bench.client()
    await bench.drive()
    later = bench.later()
    if not stream:
        assert await later.whole() == await early.whole()
        return
    (said, last) = bodies(await read(later))
    delta = said["choices"][0]["delta"]
    assert (delta["content"], delta["reasoning_content"]) == ("A", "hm")
    assert delta["tool_calls"][0]["index"] == 0
    assert delta["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a":'}, "as written, though it is no JSON"
    assert last["choices"][0]["finish_reason"] == "tool_calls"


async def test_who_follows_from_another_replica_gets_it_when_it_is_stored():
    bench = Bench(Model(*SAID), stream=True)
    await bench.drive()
    facts = [Stamped(3 + n, EPOCH + timedelta(seconds=9), fact) for n, fact in enumerate(bench.settlement.facts)]
    assert deltas(await read(bench.later(*facts)), "content") == "Paris"


async def test_a_call_that_goes_on_elsewhere_says_so():
    bench = Bench(Model())
    events = await read(bench.later(Stamped(2, EPOCH, asked())))
    assert "another process" in bodies(events)[-1]["error"]["message"]
    with pytest.raises(UnavailableError):
        await bench.later(Stamped(2, EPOCH, asked())).whole()
    broken = bench.later(UnavailableError("the database is away"))
    assert bodies(await read(broken))[-1]["error"]["code"] == "unavailable"


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (UpstreamError("refused"), "upstream_error", 502),
        (UpstreamTimeoutError("late"), "upstream_timeout", 504),
        (EgressDeniedError("no"), "egress_denied", 403),
        (RuntimeError("a fault of ours"), "internal_error", 502),
    ],
)
@pytest.mark.parametrize("billed", [False, True])
async def test_an_error_is_the_same_for_who_waited_and_who_comes_later(error, code, status, billed):
    bench = Bench(Model(error=error, used=Usage(10, 3) if billed else Usage(), exact=False))
    early = bench.client()
    await bench.drive()
    for client in (early, bench.later()):
        for wait in (client.begun, client.whole):
            with pytest.raises(PassedCallError) as caught:
                await wait()
            assert (caught.value.code, caught.value.http_status, caught.value.final) == (code, status, billed)
    assert [fact.type for fact in bench.settlement.facts] == ["ask_failed", "ended"]
    assert bench.settlement.settles[0].actual_nano_usd == (PRICE_NANO_USD if billed else 0)
    assert bench.settlement.settles[0].estimate is billed
    assert "fault" not in bench.stored.ended.reason


@pytest.mark.parametrize(("status", "final"), [(400, True), (404, True), (429, False), (503, False)])
async def test_what_would_be_refused_again_is_not_retried(status, final):
    bench = Bench(Model(error=ModelRefusedError("too long", meter=Meter(), status=status), used=Usage()))
    client = bench.client()
    await bench.drive()
    with pytest.raises(PassedCallError, match="too long") as caught:
        await client.whole()
    assert caught.value.final is final


async def test_a_stream_with_tool_calls_ends_as_the_whole_answer_does():
    bench = Bench(Model(chunk(**tool_call("look", "{}")), chunk(finish="stop")), stream=True)
    client, whole = bench.client(), bench.client()
    await bench.drive()
    assert bodies(await read(client))[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert (await whole.whole())["choices"][0]["finish_reason"] == "tool_calls"


async def test_an_error_in_the_middle_of_a_stream_ends_it():
    bench = Bench(Model(chunk("Par"), error=UpstreamError("it broke")), stream=True)
    client = bench.client()
    await bench.drive()
    events = await read(client)
    assert deltas(events[:-2], "content") == "Par"
    assert "it broke" in bodies(events)[-1]["error"]["message"]
    assert events[-1] == "data: [DONE]\n\n"


@pytest.mark.parametrize("how", ["cancelled", "stopped"])
async def test_a_call_that_hangs_is_broken_off_and_what_was_said_counts(how):
    model = Model(chunk("Par"), hang=True)
    bench = Bench(model, stream=True)
    client, whole = bench.client(), bench.client()
    driving = bench.drive()
    await client.begun()
    if how == "cancelled":
        bench.wishes.cancelled.request("the user")
    else:
        driving.cancel()
    await driving
    assert model.closed
    assert [fact.type for fact in bench.settlement.facts] == ["ask_failed", "cancel_requested", "ended"]
    assert bench.settlement.settles[0].estimate is True
    events = [e async for e in client.events()]
    assert deltas(events, "content") == "Par"
    assert bodies(events)[-1]["choices"][0]["finish_reason"] == "length"
    body = await whole.whole()
    assert body["choices"][0]["message"]["content"] == "Par"
    by = "the user" if how == "cancelled" else STOPPED
    assert (body["toolorchestra"]["status"], body["toolorchestra"]["reason"]) == ("cancelled", f"cancelled by {by}")


async def test_a_call_that_was_lost_with_its_process_is_an_error_that_is_not_retried():
    lost = f.AskFailed(turn=1, attempt=1, error_code="interrupted", message="lost", cost_nano_usd=7, estimated=True)
    end = PassedEnd.of(fold(RUN, log(asked(), lost, ended("I could not answer.", status="cancelled"))))
    assert (end.error.code, end.error.http_status, end.error.final) == ("unavailable", 503, True)


async def test_clients_that_leave_are_counted():
    bench = Bench(Model())
    await bench.client().leave()
    assert bench.left == ["client"]
