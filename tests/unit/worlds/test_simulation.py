"""Simulated experts: right exactly as drawn, wrong in ways that look right, and never wiser than their messages."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from tests.support.library import GOLDEN, LIBRARY, task
from toolorchestra.core.errors import InvalidRequestError, NotFoundError, UpstreamTimeoutError
from toolorchestra.core.experts import expert_messages
from toolorchestra.core.pricing import cost
from toolorchestra.core.revision import price_of
from toolorchestra.worlds.check import check, judge
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.simulation.cases import TaskBook
from toolorchestra.worlds.simulation.conversation import Heard, Made, read_conversation, write_transcript
from toolorchestra.worlds.simulation.drawing import Fault, draw, is_right, probability
from toolorchestra.worlds.simulation.models import NOT_IN_BOOK, REFUSAL, SimulatedModels
from toolorchestra.worlds.simulation.profiles import Cast, draw_cast, repriced
from toolorchestra.worlds.simulation.testing import play, request_of, target_of, wire_tools
from toolorchestra.worlds.simulation.topics import SUBJECTS, TOPICS

WORLD = load_world(LIBRARY)
CAST = draw_cast(1)
SURE = replace(CAST.strongest, name="sure", skills=dict.fromkeys(TOPICS, 50.0), base=50.0)
LOST = replace(SURE, name="lost", skills={}, base=-50.0)
TASKS = [task(id=f"library-{number}") for number in range(120)]
MODELS = SimulatedModels(TaskBook([(WORLD, TASKS)]), Cast(1, "train", (SURE, LOST)), 5)
FAULTS = {one.id: MODELS.outcome("lost", one.id) for one in TASKS}


def with_fault(fault):
    """Tasks on which the lost expert fails in this way."""
    return [one for one in TASKS if FAULTS[one.id].fault is fault]


async def ask(one, calls=(), *, expert="sure", models=MODELS, question=None):
    """What an expert replies that is asked as a tool."""
    arguments = {"question": one.user.opening if question is None else question, "context": write_transcript(calls)}
    return await models.chat(request_of(models, expert, expert_messages(target_of(models, expert), arguments)))


def made_calls(session_calls):
    """Calls with their true results."""
    from toolorchestra.worlds.session import Session

    session = Session.replay(WORLD, session_calls)
    pairs = zip(session_calls, session.results, strict=True)
    return [Made(call.tool, call.arguments, json.dumps(result.content)) for call, result in pairs]


async def test_an_expert_that_is_right_solves_the_task_alone():
    played = await play(MODELS, WORLD, TASKS[0], "sure")
    assert judge(TASKS[0], played.session, played.answer).success
    assert [call.tool for call in played.session.calls] == [one.tool for one in GOLDEN]


async def test_an_expert_that_is_wrong_never_solves_it():
    assert {draw.fault for draw in FAULTS.values()} == set(Fault)
    for one in TASKS:
        played = await play(MODELS, WORLD, one, "lost")
        assert not judge(one, played.session, played.answer).success, FAULTS[one.id]


async def test_silent_faults_look_right():
    for fault in (Fault.MUTATED, Fault.MISREPORTED):
        for one in with_fault(fault)[:10]:
            played = await play(MODELS, WORLD, one, "lost")
            assert [call.tool for call in played.session.calls] == [call.tool for call in one.golden]
            assert all(result.ok for result in played.session.results)
            verdict = judge(one, played.session, played.answer)
            assert verdict.state_equal == (fault is Fault.MISREPORTED)
            assert len(played.answer) > 40


async def test_one_that_stops_leaves_the_write_out():
    one = with_fault(Fault.STOPPED)[0]
    played = await play(MODELS, WORLD, one, "lost")
    assert "lend" not in [call.tool for call in played.session.calls]
    assert played.answer


async def test_refusals_truncations_and_time_outs_show():
    refused, cut, late = (with_fault(fault)[0] for fault in (Fault.REFUSED, Fault.CUT, Fault.LATE))
    assert (await play(MODELS, WORLD, refused, "lost")).answer == REFUSAL
    assert (await play(MODELS, WORLD, cut, "lost")).replies[-1].finish_reason == "length"
    played = await play(MODELS, WORLD, late, "lost")
    assert played.answer == ""
    headers = {"baggage": f"toolorchestra.session=library:{late.id}:1"}
    request = request_of(MODELS, "lost", played.messages, wire_tools(WORLD), headers=headers)
    with pytest.raises(UpstreamTimeoutError) as error:
        await MODELS.chat(request)
    assert error.value.meter.usage.input > 0
    assert error.value.latency_ms == 120_000


async def test_as_a_tool_it_proposes_the_next_call_and_then_the_answer():
    calls = [one.call for one in GOLDEN]
    for number, call in enumerate(calls):
        proposal = json.loads((await ask(TASKS[0], made_calls(calls[:number]))).text)
        assert proposal == {"call": {"name": call.tool, "arguments": dict(call.arguments)}}
    answer = json.loads((await ask(TASKS[0], made_calls(calls))).text)["answer"]
    assert check(WORLD, TASKS[0], calls, answer).success


async def test_it_cannot_be_right_about_what_it_was_not_given():
    later = [Made(one.tool, one.arguments) for one in GOLDEN[:4]]  # called, but nothing of the results is told
    reply = await ask(TASKS[0], later)
    call = json.loads(reply.text)["call"]
    assert call["name"] == "lend"
    assert "ME-100" not in reply.text
    assert "BO-4" not in reply.text
    assert call["arguments"]["due"] == "2026-03-16"  # the user said so


async def test_an_answer_without_results_tells_no_fact():
    silent = [Made(one.tool, one.arguments) for one in GOLDEN]
    answer = json.loads((await ask(TASKS[0], silent)).text)["answer"]
    verdict = check(WORLD, TASKS[0], TASKS[0].calls, answer)
    assert {"next_due", "shelf", "fines"} <= set(verdict.facts_missing)


async def test_what_an_expert_says_at_the_wrong_step_is_made_up_from_what_it_saw():
    calls = made_calls([GOLDEN[0].call])
    hidden = [calls[0], *(Made(one.tool, one.arguments) for one in GOLDEN[1:4])]
    arguments = json.loads((await ask(TASKS[0], hidden)).text)["call"]["arguments"]
    assert arguments["member_id"] == "ME-100"
    assert arguments["book_id"] != "BO-4"


async def test_closing_without_tools_it_answers_with_what_it_knows():
    played = await play(MODELS, WORLD, TASKS[0], "sure")
    notes = "\n".join(json.dumps(result.content) for result in played.session.results)
    messages = [{"role": "user", "content": TASKS[0].user.opening}, {"role": "user", "content": f"Notes:\n{notes}"}]
    reply = await MODELS.chat(request_of(MODELS, "sure", messages))
    assert not reply.tool_calls
    assert "20" in reply.text


async def test_the_same_messages_get_the_same_reply():
    other = SimulatedModels(TaskBook([(WORLD, TASKS)]), Cast(1, "train", (SURE, LOST)), 5)
    for one in TASKS[:5]:
        if FAULTS[one.id].fault is not Fault.LATE:
            assert await ask(one, expert="lost") == await ask(one, expert="lost", models=other)


async def test_a_task_is_found_by_session_where_the_text_says_nothing():
    target = target_of(MODELS, "sure")
    messages = expert_messages(target, {"question": "What now?"})
    headers = {"baggage": "other=1,toolorchestra.session=library%3Alibrary-3%3A7"}
    assert "find_member" in (await MODELS.chat(request_of(MODELS, "sure", messages, headers=headers))).text
    assert (await MODELS.chat(request_of(MODELS, "sure", messages))).text == NOT_IN_BOOK


@pytest.mark.parametrize("prefix", ["library-", "library__", "x-"])
async def test_functions_of_other_names_are_known_by_name_or_description(prefix):
    tools = wire_tools(WORLD, prefix=prefix)
    for tool in tools:
        if prefix == "library-":
            tool["function"]["name"] = tool["function"]["name"].replace("_", "-")
    messages = [{"role": "user", "content": TASKS[0].user.opening}]
    reply = await MODELS.chat(request_of(MODELS, "sure", messages, tools))
    assert reply.tool_calls[0].name in (f"{prefix}find_member", f"{prefix}find-member")


async def test_it_asks_the_user_for_what_was_not_said():
    user = task().user.model_copy(update={"known": {"email": "ada@post.example", "title": "Nine Quiet Gardens"}})
    one = task(id="library-asking", user=user)
    models = SimulatedModels(TaskBook([(WORLD, [one])]), Cast(1, "train", (SURE, LOST)), 5)
    said = one.user.opening.replace("I'm at ada@post.example. ", "")
    played = await play(models, WORLD, one, "sure", opening=said)
    assert played.asked == ["What is the email?"]
    assert judge(one, played.session, played.answer).success


async def test_usage_and_latency_follow_the_texts():
    short, long = await ask(TASKS[0]), await ask(TASKS[0], made_calls([one.call for one in GOLDEN]))
    assert long.usage.input > short.usage.input + 100
    assert short.usage.output == short.usage.reasoning + -(-len(short.text) // 4)
    assert short.latency_ms >= SURE.ms_per_token * short.usage.output
    assert cost(SURE.price, usage=short.usage) > 0


async def test_output_keeps_to_max_tokens():
    one = with_fault(Fault.MUTATED)[0]
    messages = expert_messages(target_of(MODELS, "sure"), {"question": one.user.opening})
    reply = await MODELS.chat(request_of(MODELS, "sure", messages, max_tokens=5))
    assert reply.usage.output == 5
    assert reply.finish_reason == "length"


async def test_what_an_oracle_knows_is_what_happens():
    messages = [{"role": "user", "content": TASKS[0].user.opening}]
    for one in TASKS:
        headers = {"baggage": f"toolorchestra.session=library:{one.id}:1"}
        assert MODELS.would_be_right("sure", messages, headers=headers)
        assert MODELS.would_be_right("lost", messages, headers=headers) == FAULTS[one.id].right_at(0)


async def test_an_unknown_model_is_named():
    with pytest.raises(NotFoundError, match="sure"):
        await MODELS.chat(replace(request_of(MODELS, "sure", []), target=target_of(MODELS, "sure").model_copy(
            update={"spec": CAST.cheapest.expert("http://127.0.0.1:9/v1").spec}
        )))  # fmt: skip
    with pytest.raises(InvalidRequestError):
        await MODELS.complete(None)


def test_casts_are_drawn_the_same_and_held_out_apart():
    assert draw_cast(3) == draw_cast(3)
    assert draw_cast(3) != draw_cast(4)
    casts = {split: [draw_cast(seed, split=split) for seed in range(40)] for split in ("train", "test")}
    prices = {split: {profile.price.input for cast in found for profile in cast} for split, found in casts.items()}
    bands = ((0.04, 0.15), (0.4, 0.9), (2.0, 5.0))
    assert all(any(low <= price / 1e9 <= high for low, high in bands) for price in prices["train"])
    assert not any(low <= price / 1e9 <= high for low, high in bands for price in prices["test"])
    names = {split: {name for cast in found for name in cast.names} for split, found in casts.items()}
    assert not names["train"] & names["test"]
    families = {split: {profile.family for cast in found for profile in cast} for split, found in casts.items()}
    assert not families["train"] & families["test"]


def test_descriptions_follow_the_skills():
    for seed in range(30):
        for profile in draw_cast(seed):
            good = [topic for topic in ("railway", "ecommerce", *SUBJECTS) if profile.skills[topic] > profile.base + 3]
            assert ("specialised" in profile.description or "areas" in profile.description) == bool(good), profile
            assert ("railway" in profile.description or "train" in profile.description.replace("trained", "")) == (
                "railway" in good
            ), profile


def test_experts_are_resources_that_can_be_priced_and_say_that_they_are_simulated():
    for profile, expert in zip(CAST, CAST.experts("http://127.0.0.1:9/v1"), strict=True):
        assert expert.spec.simulated
        assert price_of(expert) == profile.price
        assert expert.spec.strength == profile.strength


def test_a_cast_for_a_world_of_ones_own_has_specialists_for_it():
    cast = draw_cast(2, fields=("library", "museum"))
    best = max(cast, key=lambda profile: profile.skills["library"] - profile.base)
    assert best.skills["library"] - best.base > 4
    assert "library" in best.description


def test_draws_are_calibrated_and_errors_correlate():
    tasks = [task(id=f"many-{number}") for number in range(1_500)]
    cast = draw_cast(2)
    right = {profile.name: [is_right(9, one, profile) for one in tasks] for profile in cast}
    for profile in cast:
        mean = sum(probability(9, one, profile) for one in tasks) / len(tasks)
        assert abs(sum(right[profile.name]) / len(tasks) - mean) < 3 * 0.5 / len(tasks) ** 0.5
    one, other = right[cast.profiles[0].name], right[cast.profiles[1].name]
    both = sum(a and b for a, b in zip(one, other, strict=True)) / len(tasks)
    assert both > sum(one) * sum(other) / len(tasks) ** 2 + 0.01


def test_aid_never_makes_wrong_and_faults_come_at_their_rates():
    profile = replace(LOST, refusals=0.2, truncations=0.1, timeouts=0.1)
    tasks = [task(id=f"faults-{number}") for number in range(1_000)]
    counts = Counter(draw(1, one, profile, writes=(4,)).fault for one in tasks)
    assert abs(counts[Fault.REFUSED] / 1_000 - 0.2) < 0.04
    assert abs(counts[Fault.MUTATED] / 1_000 - 0.3) < 0.05
    middling = replace(CAST.cheapest)
    for one in tasks[:200]:
        assert is_right(1, one, middling, aid=2.0) or not is_right(1, one, middling)


def test_what_was_heard_is_found_in_any_spelling():
    heard = Heard(["Until 16 March, for 12.50 pounds, BO-9 please"], ['{"at": "2026-04-02T10:00", "n": [4]}'], 2026)
    for value, form in (
        ("2026-03-16", "date"),
        ("12.50", "money"),
        ("BO-9", None),
        ("2026-04-02", "date"),
        (4, None),
        (["BO-9"], None),
    ):
        assert heard.holds(value, form), value
    for value, form in (("2026-03-17", "date"), ("12.60", "money"), ("BO-99", None), (5, None), (["BO-9", "BO-8"], None)):
        assert not heard.holds(value, form), value


def test_a_transcript_is_read_back():
    calls = made_calls([GOLDEN[0].call])
    refused = Made("lend", {"book_id": "x"}, '{"error": {"code": "not_found", "message": "no"}}', ok=False)
    target = target_of(MODELS, "sure")
    arguments = {"question": "What next?", "context": write_transcript([*calls, refused])}
    conversation = read_conversation(expert_messages(target, arguments))
    assert conversation.made == (*calls, refused)
    assert conversation.asked
    assert "What next?" in conversation.text


def test_experts_at_other_prices_are_right_and_wrong_on_the_same_tasks_in_the_same_way():
    book = TaskBook([(WORLD, TASKS)])
    before, after = (SimulatedModels(book, cast, 5) for cast in (CAST, repriced(CAST)))
    for profile in CAST:
        draws = [before.outcome(profile.name, one.id) for one in TASKS]
        assert draws == [after.outcome(f"{profile.name}-alt", one.id) for one in TASKS]
        assert profile.price != after.cast.profile(f"{profile.name}-alt").price
        assert before.outcome(profile.name, TASKS[0].id) == draw(5, TASKS[0], profile, writes=book.cases[TASKS[0].id].writes)
