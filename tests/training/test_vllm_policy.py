"""The policy behind a vLLM server: every step's adapter arrives, or the run ends with what to do about it.

Tests that take ``served`` are played against a real vLLM as well, with ``--vllm URL --taught FOLDER``.
"""

import asyncio
import json
import shutil
from contextlib import ExitStack

import pytest
import torch

from tests.training.taught import SEED, TASKS
from toolorchestra.training.grpo.assembly import grouping_of, policy_of
from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.main import main
from toolorchestra.training.grpo.policies import PolicyUnavailableError, Turn
from toolorchestra.training.grpo.rollouts import Seat
from toolorchestra.training.grpo.settings import ModelSettings, TrainingSettings
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.warmstart import record
from toolorchestra.training.grpo.training import Run
from toolorchestra.training.grpo.vllm_testing import FakeVllm

NAME = "tiny"


@pytest.fixture
def fake(taught):
    """Starts servers with faults."""
    with ExitStack() as stack:

        def start(**faults):
            loaded = load(ModelSettings(path=str(taught)))
            return stack.enter_context(FakeVllm(loaded.model, loaded.codec, NAME, **faults).running())

        yield start


@pytest.fixture
def served(request, fake):
    """The URL of a server that does all right; a real one when the command line names it."""
    return request.config.getoption("--vllm") or fake().url


@pytest.fixture
def settings(taught, tmp_path):
    """A run whose episodes are sampled by a server."""

    def make(url, *, steps=3, lora=True, temperature=1.0, **backend):
        return TrainingSettings.model_validate(
            {
                "model": {"path": str(taught), "lora": {"rank": 8, "alpha": 16} if lora else None},
                "tasks": {"kind": "routes", "count": TASKS, "seed": SEED},
                "rollout": {
                    "group_size": 4,
                    "groups_per_step": 2,
                    "explored": 0.25,
                    "temperature": temperature,
                    "backend": {"kind": "vllm", "url": url, "model": NAME, "adapters": str(tmp_path / "adapters")} | backend,
                },
                "optimiser": {"steps": steps, "warmup_steps": 0, "learning_rate": 3e-3},
                "gate": None,
            }
        )

    return make


def policy(settings, url, **fields):
    """The run's policy, and the model that it is to follow."""
    made = settings(url, **fields)
    torch.manual_seed(0)
    loaded = load(made.model)
    return policy_of(made, loaded), loaded


@pytest.fixture
def prompt(codec):
    """Of a task that the model knows."""
    task = Draw(SEED).task(0)
    recorded = asyncio.run(record(task, task.cards[0], codec))
    return recorded.ids[: recorded.prompt]


def move(model):
    """As an update would."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.add_(torch.randn_like(weight) * 0.02)


def test_log_probabilities_are_the_trainers_after_every_sync(served, settings):
    found, loaded = policy(settings, served)
    gaps = []
    for step in range(4):
        found.begin(step)
        gaps.append(found.figures()["sync_gap"])
        move(loaded.model)
    assert max(gaps) < 1e-3
    print(f"log-probability gap after each of {len(gaps)} syncs: at most {max(gaps):.1e} nats")


def test_turns_end_with_their_mark_or_at_their_limit(served, settings, codec, prompt):
    found, loaded = policy(settings, served)
    found.begin(7)
    turns = [Turn(prompt, tokens, 1.0) for tokens in (1, 2, 40, 40, 40)]
    written = asyncio.run(found.write(turns))
    assert [len(one.ids) for one in written[:2]] == [1, 2]
    assert all(one.ids[-1] == codec.stop or len(one.ids) == 40 for one in written[2:])
    assert any(one.ids[-1] == codec.stop for one in written[2:])
    assert all(codec.stop not in one.ids[:-1] for one in written)
    assert all(len(one.ids) == len(one.logprobs) and one.version == 7 for one in written)
    greedy = Turn(prompt, 40, 0.0)
    assert asyncio.run(found.write([greedy]))[0].ids == LocalPolicy(loaded.model, codec, seed=1).sample([greedy])[0].ids


def test_a_turn_ends_where_the_context_does_and_beyond_nothing_is_written(served, settings, prompt):
    found, _ = policy(settings, served)
    found.begin(0)
    long = (prompt * 512)[:512]
    written = asyncio.run(found.write([Turn(ids, 40, 1.0) for ids in (long[:-3], long, prompt)]))
    assert 1 <= len(written[0].ids) <= 3
    assert written[1].ids == written[1].logprobs == []
    assert len(written[2].ids) > 0


def test_episodes_that_outgrow_the_context_do_not_end_the_run(fake, settings, tmp_path, prompt):
    Run(settings(fake(context=90).url, steps=2), tmp_path / "run").train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]


def test_log_probabilities_are_those_of_the_runs_temperature(served, settings):
    found, _ = policy(settings, served, temperature=0.7)
    found.begin(0)
    assert found.figures()["sync_gap"] < 1e-3


def test_a_run_trains_by_what_a_server_samples(served, settings, tmp_path):
    Run(settings(served, steps=4), tmp_path / "run").train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["sync_gap"] < 1e-3 for line in lines)
    assert max(line["kept_groups"] for line in lines) > 0, "some groups taught something"
    assert [path.name.partition("-")[0] for path in (tmp_path / "adapters").iterdir()] == ["policy"]


def test_the_older_adapter_is_unloaded_and_those_of_others_stay(fake, settings, tmp_path):
    server = fake()
    found, loaded = policy(settings, server.url)
    server.roots |= {"leftover": str(tmp_path / "adapters" / "leftover"), "others": "/elsewhere/others"}
    server._models |= {"leftover": server.model, "others": server.model}
    for step in range(3):
        found.begin(step)
        move(loaded.model)
    (kept,) = (tmp_path / "adapters").iterdir()
    assert kept.name.startswith("policy-v2-")
    assert set(server._models) == {NAME, "others", kept.name}


def test_the_same_weights_are_sent_once(fake, settings):
    server = fake()
    found, _ = policy(settings, server.url)
    again, _ = policy(settings, server.url)  # another process of the same run, or the run's next life
    for one in (found, found, again):
        one.begin(0)
    loads = [body["lora_name"] for path, body in server.requests if path == "/v1/load_lora_adapter"]
    assert len(loads) == 2
    assert len(set(loads)) == 1


def test_a_run_never_takes_the_adapter_of_another(fake, settings, tmp_path):
    """Not even of the same weights, whose file may be gone by now."""
    server = fake()
    for folder in ("one", "other"):
        found, _ = policy(settings, server.url, adapters=str(tmp_path / folder))
        found.begin(0)
        shutil.rmtree(tmp_path / folder)
    assert len(server.roots) == 2


def test_no_request_names_a_seed_and_each_names_the_whole_distribution(fake, settings, prompt):
    server = fake()
    found, _ = policy(settings, server.url)
    found.begin(0)
    asyncio.run(found.write([Turn(prompt, 3, 1.0)]))
    bodies = [body for path, body in server.requests if path == "/v1/completions"]
    assert len(bodies) == 2
    assert all("seed" not in body and (body["top_p"], body["top_k"]) == (1.0, 0) for body in bodies)


def test_a_skipped_sync_is_caught(fake, settings):
    found, loaded = policy(settings, fake(deaf_to="policy-v2").url)
    for step in range(2):
        found.begin(step)
        move(loaded.model)
    with pytest.raises(
        PolicyUnavailableError, match=r"policy-v2-\w+: log-probabilities differ by up to .* policy-v1-\w+ did not"
    ):
        found.begin(2)


def test_a_server_with_other_weights_is_refused_before_the_first_episode(fake, settings):
    server = fake()
    with torch.no_grad():
        server.model.get_input_embeddings().weight.mul_(1.1)
    found, _ = policy(settings, server.url)
    with pytest.raises(InvalidRunError, match=r"serve model\.path itself"):
        found.begin(0)


@pytest.mark.parametrize(
    ("faults", "backend", "error", "words"),
    [
        ({}, {"model": "another"}, InvalidRunError, r"rollout.backend.model: .*'another'.*it serves tiny"),
        ({"fixed": True}, {}, InvalidRunError, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        ({"wordy": True}, {}, InvalidRunError, "without token ids"),
        ({"foreign": True}, {}, InvalidRunError, "does not list models as vLLM does"),
        ({"broken": True}, {}, PolicyUnavailableError, "the server broke: EngineCore encountered an issue"),
        ({}, {"adapters": "/proc/adapters"}, InvalidRunError, "rollout.backend.adapters: /proc/adapters cannot be written"),
        ({}, {"timeout_s": 1e-4}, PolicyUnavailableError, r"did not answer within 0.0001 s .*rollout.backend.timeout_s"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_first(fake, settings, faults, backend, error, words):
    found, _ = policy(settings, fake(**faults).url, **backend)
    with pytest.raises(error, match=words):
        found.begin(0)


def test_a_server_that_is_not_there_ends_the_command(settings, tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(settings("http://127.0.0.1:9").model_dump_json())
    assert main([str(file), "--out", str(tmp_path / "out")]) == 1
    assert "rollout.backend.url: http://127.0.0.1:9 cannot be reached" in capsys.readouterr().err


def test_a_server_that_breaks_under_an_episode_ends_the_run(fake, settings):
    """It does not become an episode that went wrong."""
    server = fake()
    made = settings(server.url)
    grouping = grouping_of(made, load(made.model))
    grouping.engine.backend.begin(0)
    server.broken = True
    with pytest.raises(PolicyUnavailableError, match="the server broke"):
        asyncio.run(grouping.engine.play([Seat(grouping.source.scene(0))]))


def test_a_server_needs_an_adapter_to_be_sent(settings):
    with pytest.raises(ValueError, match=r"model.lora: rollout.backend of kind vllm needs one"):
        settings("http://127.0.0.1:9", lora=False)
