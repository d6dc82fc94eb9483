"""The rules that need no training, on toolkits as users have them."""

import json

import pytest

from toolorchestra.core.calls import Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.journal import DeniedError
from toolorchestra.core.loop.memory import Purse, run_episode
from toolorchestra.core.policies.baselines import NOTHING_FOUND
from toolorchestra.core.testing import (
    MemoryJournal,
    Peers,
    Result,
    Say,
    ScriptedExecutor,
    ScriptedModels,
    a_revision,
    a_tool,
    an_expert,
    an_opening,
)

CALCULATOR = a_tool(
    "calculator",
    capabilities=["arithmetic"],
    pricing={},
    parameters={"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
)
SEARCH = a_tool(
    "local-search",
    capabilities=["search"],
    pricing={},
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["query"],
    },
)
SMALL = an_expert("small", pricing={"input": "0", "output": "0"}, strength=10)
MIDDLE = an_expert("middle", pricing={"input": "1", "output": "2"}, strength=50)
STRONG = an_expert("strong", pricing={"input": "5", "output": "20"}, strength=95)
DEAR = an_expert("dear", pricing={"input": "9", "output": "90"}, strength=60)
TOOLKIT = (CALCULATOR, SEARCH, SMALL, MIDDLE, STRONG, DEAR)
REFUSAL = Result("I'm sorry, I cannot answer that.")
EVEREST = {"title": "Everest", "source": "e.md", "text": "It is 8,849 m high.", "score": 9.1, "confidence": 0.9}


class Toolkit(ScriptedExecutor):
    """Answers by function name; every other call gets "fine"."""

    def __init__(self, **results):
        super().__init__()
        self._results = {name.replace("_", "-"): result for name, result in results.items()}

    async def execute(self, call):
        self.requests.append(call)
        return self._outcome(call, self._results.get(call.function.name, Result("fine")))

    @property
    def asked(self):
        return [request.function.name for request in self.requests]


async def ask(question, *resources, rule="cascade", purse=None, models=None, **fields):
    results = fields.pop("results", {})
    executor = Toolkit(**results)
    revision = a_revision(*(resources or TOOLKIT), policy={"baseline": rule})
    journal = MemoryJournal(purse=purse)
    state = await run_episode(
        an_opening(question, **fields), revision, models=models or ScriptedModels(), executor=executor, journal=journal
    )
    return state, executor


async def test_an_expression_goes_to_the_calculator_and_its_result_is_handed_on_word_for_word():
    state, toolkit = await ask("What is 17 * 23?", results={"calculator": Result("391")})
    assert toolkit.asked == ["calculator"]
    assert toolkit.requests[0].arguments == {"expression": "17 * 23"}
    assert (state.ended.answer, state.ended.answer_from, state.ended.status) == ("391", "1/1", "completed")
    assert state.spent_nano_usd == 0


async def test_a_calculator_that_fails_is_followed_by_an_expert():
    _, toolkit = await ask("What is 17 * 23?", results={"calculator": Result("division by zero", Status.ERROR)})
    assert toolkit.asked == ["calculator", "small"]


async def test_a_confident_passage_goes_to_the_cheapest_expert_as_context():
    found = Result(json.dumps([EVEREST, EVEREST | {"text": "Weak.", "confidence": 0.2}]))
    state, toolkit = await ask("How high is Everest?", results={"local_search": found, "small": Result("8,849 m")})
    assert toolkit.asked == ["local-search", "small"]
    assert toolkit.requests[1].arguments == {"question": "How high is Everest?", "context": "Everest: It is 8,849 m high."}
    assert state.ended.answer == "8,849 m"


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "no JSON",
        "{}",
        "[1, null]",
        '[{"confidence": null}]',
        '[{"confidence": "high"}]',
        '[{"confidence": 0.1}]',
        "[" * 9_000,
        "NaN",
    ],
)
async def test_a_search_that_found_nothing_gives_no_context(content):
    _, toolkit = await ask("How high is Everest?", results={"local_search": Result(content)})
    assert toolkit.asked == ["local-search", "small"]
    assert toolkit.requests[1].arguments == {"question": "How high is Everest?"}


@pytest.mark.parametrize(
    "refusal",
    [
        "I'm sorry, but I can't help.",
        "I’m sorry, I don’t know.",
        "I cannot answer this.",
        "I can not answer this.",
        "Sorry, I am not able to.",
        "As an AI language model, I have no opinion.",
        "I do not know.",
        "I don't have access to that.",
        "Unfortunately, I do not have it.",
        "  i am unable to say",
    ],
)
async def test_a_refusal_is_followed_by_the_next_stronger_expert(refusal):
    state, toolkit = await ask("Why?", SMALL, MIDDLE, STRONG, results={"small": Result(refusal)})
    assert toolkit.asked == ["small", "middle"]
    assert state.ended.answer == "fine"


@pytest.mark.parametrize(
    "answer", ["I can explain.", "Sorrow is a feeling.", "It cannot be known.", "As an airline, it flies."]
)
async def test_an_answer_that_only_looks_like_a_refusal_is_an_answer(answer):
    _, toolkit = await ask("Why?", SMALL, MIDDLE, results={"small": Result(answer)})
    assert toolkit.asked == ["small"]


async def test_after_a_refusal_no_weaker_expert_is_asked_however_dear_it_is():
    refusals = {"small": REFUSAL, "middle": REFUSAL, "strong": REFUSAL}
    state, toolkit = await ask("Why?", SMALL, MIDDLE, STRONG, DEAR, results=refusals)
    assert toolkit.asked == ["small", "middle", "strong"]
    assert state.ended.answer == REFUSAL.content


@pytest.mark.parametrize("status", [Status.ERROR, Status.TIMEOUT])
async def test_an_expert_that_fails_is_followed_by_any_other(status):
    cheap_and_strong = an_expert("best", pricing={"input": "0", "output": "0"}, strength=99)
    _, toolkit = await ask("Why?", cheap_and_strong, MIDDLE, results={"best": Result("down", status)})
    assert toolkit.asked == ["best", "middle"]


async def test_a_preference_for_cheap_does_not_escalate():
    state, toolkit = await ask("Why?", SMALL, STRONG, preference={"words": "cheap if possible"}, results={"small": REFUSAL})
    assert toolkit.asked == ["small"]
    assert state.ended.answer == REFUSAL.content


async def test_the_best_answer_regardless_of_cost_comes_from_the_strongest_not_the_dearest():
    _, toolkit = await ask("Why?", SMALL, STRONG, DEAR, preference={"words": "the best answer regardless of cost"})
    assert toolkit.asked == ["strong"]


@pytest.mark.parametrize(("rule", "expert"), [("cheapest", "small"), ("strongest", "strong")])
async def test_a_single_rule_asks_one_expert_and_no_tool(rule, expert):
    state, toolkit = await ask("What is 17 * 23?", rule=rule)
    assert toolkit.asked == [expert]
    assert (state.ended.answer, state.ended.answer_from) == ("fine", "1/1")


async def test_random_follows_the_seed_and_reaches_every_expert():
    drawn = [(await ask("Why?", rule="random", seed=seed))[1].asked for seed in range(40)]
    again = [(await ask("Why?", rule="random", seed=seed))[1].asked for seed in range(40)]
    assert drawn == again
    assert {name for asked in drawn for name in asked} == {"small", "middle", "strong", "dear"}


async def test_a_single_expert_that_refuses_is_not_followed_by_another():
    state, toolkit = await ask("Why?", rule="strongest", results={"strong": REFUSAL})
    assert toolkit.asked == ["strong"]
    assert state.ended.answer == REFUSAL.content


async def test_without_experts_what_the_search_found_is_the_answer_as_text():
    state, toolkit = await ask(
        "How high is Everest?", CALCULATOR, SEARCH, results={"local_search": Result(json.dumps([EVEREST]))}
    )
    assert toolkit.asked == ["local-search"]
    assert state.ended.answer == "Everest: It is 8,849 m high."


@pytest.mark.parametrize("rule", ["cascade", "cheapest", "strongest", "random"])
async def test_without_any_expert_or_result_the_answer_says_so(rule):
    state, _ = await ask("Why?", CALCULATOR, rule=rule)
    assert state.ended.answer == NOTHING_FOUND


@pytest.mark.parametrize("rule", ["cascade", "cheapest", "strongest", "random"])
async def test_when_every_call_is_denied_the_reserve_pays_for_an_answer(rule):
    revision = a_revision(MIDDLE, STRONG, policy={"baseline": rule})
    probe = Peers(revision)
    await run_episode(an_opening("Why?"), revision, models=probe.models, executor=probe.executor, journal=probe.journal)
    reserve = probe.journal.log["run"][0].fact.reserve.nano_usd
    purse = Purse(reserve + 100_000)
    models = ScriptedModels([Say("from the reserve")], price=revision.closing.price)
    state, toolkit = await ask("Why?", MIDDLE, STRONG, rule=rule, purse=purse, models=models)
    assert toolkit.asked == []
    assert state.ended.answer == "from the reserve"
    assert state.turns[0].calls[0].outcome.status is Status.DENIED
    assert purse.holds == {}
    assert purse.spent_nano_usd == models.bill.heard_nano_usd == state.spent_nano_usd


async def test_a_run_that_cannot_set_its_reserve_aside_is_refused_at_the_door():
    purse = Purse(1_000)
    with pytest.raises(DeniedError):
        await ask("Why?", MIDDLE, purse=purse)
    assert (purse.spent_nano_usd, purse.holds) == (0, {})


async def test_no_money_at_all_still_buys_what_is_free():
    state, toolkit = await ask("Why?", SMALL, STRONG, purse=Purse(0), limits={"max_cost_nano_usd": 0})
    assert toolkit.asked == ["small"]
    assert state.ended.answer == "fine"


async def test_when_all_experts_are_down_the_run_fails_and_says_why():
    down = Result("connection refused", Status.ERROR)
    state, _ = await ask("Why?", MIDDLE, results={"middle": down}, models=ScriptedModels(otherwise=Say("")))
    assert state.ended.status == "failed"
    assert state.ended.answer == "I could not answer: the policy gave no answer."


async def test_hard_rules_bind_the_closing_answer_too():
    rules = {"deny": ["middle", "strong"]}
    state, toolkit = await ask("Why?", MIDDLE, STRONG, preference=rules)
    assert toolkit.asked == []
    assert state.ended.answer == NOTHING_FOUND
    assert state.run.reserve.nano_usd == 0


async def test_at_the_last_turn_the_best_result_is_handed_on_without_asking_a_model():
    state, _ = await ask("Why?", SMALL, MIDDLE, limits={"max_turns": 2}, results={"small": REFUSAL})
    assert state.ended.answer == REFUSAL.content
    assert isinstance(state.turns[-1].asked, f.Asked)
    assert state.turns[-1].asked.forced == "this is turn 2 of 2"


async def test_every_choice_is_explained_with_what_could_have_been_chosen():
    state, _ = await ask("Why?", SMALL, STRONG)
    decided = state.turns[0].decided
    assert decided.decision.reason == "cascade: the cheapest expert comes first"
    assert {c.function: c.worst_case_nano_usd > 0 for c in decided.candidates} == {"small": False, "strong": True}


async def test_parameters_that_are_no_plain_schema_make_a_tool_unfit_not_a_crash():
    odd = a_tool("odd", capabilities=["search"], parameters={"type": "object", "properties": {"q": True}, "required": ["q"]})
    _, toolkit = await ask("Why?", odd, SMALL)
    assert toolkit.asked == ["small"]
