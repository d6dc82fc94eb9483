"""TRL's own loop over turns is the oracle of ours: the same weights and tasks give the same tokens and the same masks.

TRL speaks the format by public means: a chat template that writes it, a response template that reads it, and an environment
per task whose tools say what the platform's tools say. Only what both loops define alike is compared: one call a turn, nothing
malformed, and greedy writing.
"""

import asyncio
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from time import monotonic

import pytest
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.loop.machine import closing_ms
from toolorchestra.core.policies.history import INSTRUCTION, price_tag
from toolorchestra.core.policyformat import RULES, output_of
from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.policies import PolicyBackend, Written
from toolorchestra.training.grpo.rollouts import Engine, Seat
from toolorchestra.training.grpo.supervised import Course, teach
from toolorchestra.training.grpo.tiny import staging as routes
from toolorchestra.training.grpo.tiny.model import build_model, build_tokenizer
from toolorchestra.training.grpo.tiny.routes import Draw, RouteTask
from toolorchestra.training.grpo.tiny.staging import RouteExecutor, scene_of
from toolorchestra.training.grpo.tokens import HfCodec

MOST_CALLS = 3
LIMITS = routes.LIMITS.model_copy(update={"max_turns": MOST_CALLS + 2})  # ours closes in the last turn, TRL's has none

CHAT_TEMPLATE = """
{%- for message in messages -%}
{%- if message.role == 'system' -%}
<|im_start|>system
{{ message.content }}

Tools:
{% for tool in tools %}{% set parameters = tool.function.parameters -%}
{{ tool.function.name }}(
{%- for name, schema in parameters.properties.items() -%}
{{ ', ' if not loop.first }}{{ name }}{{ '?' if name not in parameters.required }}: {{ schema.type }}
{%- endfor %}) - {{ tool.function.description }}
{% endfor %}

{{ rules }}<|im_end|>
{% elif message.role == 'user' -%}
<|im_start|>user
{{ message.content }}<|im_end|>
{% elif message.role == 'assistant' -%}
<|im_start|>assistant
{% for call in message.tool_calls %}call {{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor -%}
{{ message.content }}<|im_end|>
{% else -%}
<|im_start|>user
{{ message.content }}<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
""".replace("{{ rules }}", RULES)
RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open_pattern": r"call (?P<name>[A-Za-z0-9_-]{1,64}) ",
            "close_pattern": r"\n|<\|im_end\|>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"},
    },
}


def names_of(task: RouteTask) -> list[str]:
    return [function.name for function in scene_of(task).revision.functions]


DRAWN = [Draw(5).task(number) for number in range(400)]
TASKS = [task for task in DRAWN if names_of(task) == sorted(names_of(task))][:12]  # TRL lists tools by name


@dataclass
class Scripted(PolicyBackend):
    """Makes one to three calls, each of another tool, then hands the last result on."""

    codec: HfCodec

    def begin(self, step):
        pass

    async def write(self, turns):
        return [self._written(self.codec.decode(turn.ids)) for turn in turns]

    def _written(self, text):
        number = next(n for n, task in enumerate(TASKS) if task.question in text and all(c.name in text for c in task.cards))
        task, made = TASKS[number], text.count("\nresult ")
        if made <= number % MOST_CALLS:
            function = scene_of(task).revision.functions[(number + made) % len(task.cards)]
            arguments = {function.parameters["required"][0]: task.argument}
            said = output_of(Decision(calls=(Intent(function=function.name, arguments=arguments),)))
        else:
            said = output_of(Decision(answer_from=f"{made}/1"))
        ids = [*self.codec.encode(said), self.codec.stop]
        return Written(ids, [0.0] * len(ids), 0)


@dataclass(frozen=True)
class Slow(RouteExecutor):
    pause_s: float

    async def execute(self, call):
        await asyncio.sleep(self.pause_s)
        return await RouteExecutor.execute(self, call)


def seat_of(task: RouteTask, pause_s: float) -> Seat:
    scene = scene_of(task, temperature=0.0)
    opened = scene.opened.model_copy(update={"limits": LIMITS})
    return Seat(replace(scene, opened=opened, executor=lambda: Slow(task, pause_s)))


def greedily(engine: Engine, *, times: int = 1, pause_s: float = 0.0):
    return asyncio.run(engine.play([seat_of(task, pause_s) for task in TASKS for _ in range(times)]))


@pytest.fixture(scope="module")
def taught():
    """A model that knows the script by heart, and its codec, whose tokenizer speaks the format to TRL as well."""
    tokenizer = build_tokenizer()
    tokenizer.chat_template, tokenizer.response_template = CHAT_TEMPLATE, RESPONSE_TEMPLATE
    codec = HfCodec(tokenizer)
    model = build_model(len(tokenizer), codec.stop, codec.pad, hidden=64, layers=2, seed=3)
    lessons = [episode.trajectory for episode in greedily(Engine(Scripted(codec), codec))]
    teach(model, lessons, Course(steps=150, batch=12, learning_rate=3e-3), tell=lambda _: None)
    return model, codec


def environment_of(task: RouteTask, pause_s: float):
    """A class as TRL wants it: one instance an episode, its public methods are the task's tools."""

    def reset(self, **_):
        self._made = self._passed_ms = 0

    def method(function):
        def call(self, **arguments):
            request = type("Call", (), {"function": function, "arguments": arguments})
            outcome = asyncio.run(Slow(task, pause_s).execute(request))
            self._made += 1
            self._passed_ms += outcome.latency_ms
            left = (LIMITS.timeout_ms - self._passed_ms - closing_ms(LIMITS)) // 1_000
            result = f"result {self._made}/1 {function.name}: {outcome.content}"
            return f"{result}\n[left: {LIMITS.max_turns - self._made} turns, {left} s]"

        names, required = list(function.parameters["properties"]), function.parameters["required"]
        call.__name__ = function.name
        call.__doc__ = f"{function.description} [{price_tag(function)}]\n\nArgs:\n" + "".join(f"    {n}: text\n" for n in names)
        call.__annotations__ = dict.fromkeys(names, str)
        parameters = [Parameter("self", Parameter.POSITIONAL_ONLY)]
        for name in names:
            default = Parameter.empty if name in required else ""
            parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, annotation=str, default=default))
        call.__signature__ = Signature(parameters)
        return call

    return type("Tools", (), {"reset": reset} | {f.name: method(f) for f in scene_of(task).revision.functions})


class Kept(GRPOTrainer):
    """Keeps what its own loop has played, and how long that took."""

    def _generate(self, prompts):
        began = monotonic()
        self.played = super()._generate(prompts)
        self.seconds = monotonic() - began
        return self.played


def prompt_of(task: RouteTask):
    words = f"\n\nPreference: {task.wish.words}" if task.wish.words else ""
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": task.question + words}]


def builtin(model, tokenizer, folder, *, pause_s: float = 0.0) -> Kept:
    """TRL's loop after it has played each task twice: a group has at least two episodes."""
    trainer = Kept(
        model=model,
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=2 * len(TASKS),
            num_generations=2,
            max_steps=1,
            max_completion_length=300,
            generation_kwargs={"do_sample": False},
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": [prompt_of(task) for task in TASKS], "environment": [t.id for t in TASKS]}),
        processing_class=tokenizer,
        environment_factory={task.id: environment_of(task, pause_s) for task in TASKS},
    )
    trainer.train()
    return trainer


def test_our_loop_and_trls_write_the_same_tokens_and_mask_the_same(taught, tmp_path):
    model, codec = taught
    episodes = greedily(Engine(LocalPolicy(model, codec, seed=1), codec, own_token_ms=0))
    calls = [sum(len(turn.calls) for turn in episode.state.turns) for episode in episodes]
    assert set(calls) == {1, 2, 3}  # the model has learnt its script, else there is little to compare
    assert all(episode.state.ended.status == "completed" for episode in episodes)
    prompts, completions, masks = builtin(model, codec.tokenizer, tmp_path).played[:3]
    theirs = {tuple(p): (list(c), m) for p, c, m in zip(prompts, completions, masks, strict=True)}
    assert len(theirs) == len(TASKS)
    for episode in episodes:
        ours = episode.trajectory
        assert theirs[tuple(ours.ids[: ours.prompt])] == (ours.ids[ours.prompt :], ours.own[ours.prompt :])


def test_trls_loop_waits_for_one_tool_after_another_and_ours_for_all_at_once(taught, tmp_path, capsys):
    (model, codec), pause_s = taught, 0.1
    engine = Engine(LocalPolicy(model, codec, seed=1), codec, own_token_ms=0)

    def seconds(pause_s):
        began = monotonic()
        episodes = greedily(engine, times=2, pause_s=pause_s)
        return monotonic() - began, [pause_s * sum(len(turn.calls) for turn in one.state.turns) for one in episodes]

    (computing, _), (ours, waits) = seconds(0.0), seconds(pause_s)
    theirs = builtin(model, codec.tokenizer, tmp_path, pause_s=pause_s).seconds
    with capsys.disabled():
        told = f"ours {ours:.2f} s, of it {computing:.2f} s computing; TRL's {theirs:.2f} s"
        print(f"\n{len(waits)} episodes, tools of {pause_s} s, slowest {max(waits):.1f} s: {told}")
    assert theirs >= sum(waits) > 2 * (ours - computing)
