"""Wording by a model over real HTTP: requests arrive with the key, failures fall back, what can never work ends the build."""

import json
import logging
from contextlib import ExitStack, closing

import pytest

from toolorchestra.executors.testing import Behaviour, CountingProvider, ProviderConfig
from toolorchestra.training.toolscale.building import build_domain
from toolorchestra.training.toolscale.defaults import KEY
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.training.toolscale.endpoint import ChatEndpoint, Endpoint
from toolorchestra.training.toolscale.errors import WordingEndpointError
from toolorchestra.training.toolscale.page import page_of
from toolorchestra.training.toolscale.report import make_report, save_report
from toolorchestra.training.toolscale.rewording import reword
from toolorchestra.training.toolscale.worldset import Request, build

SECRET = "sk-the-key-of-the-model"


@pytest.fixture
def provider():
    with CountingProvider(ProviderConfig(models=("words",), api_key=SECRET)) as found:
        yield found


@pytest.fixture
def model(provider):
    """Connects with a key to the provider, or to another address; all connections end with the test."""
    with ExitStack() as open_ones:
        yield lambda key=SECRET, url=provider.url: open_ones.enter_context(
            closing(ChatEndpoint(Endpoint(url, "words"), key, pause_s=0.0))
        )


def test_an_answer_over_http_becomes_the_request_of_the_task(provider, model):
    built = build_domain(find_domain("ecommerce"), seed=9, count=1)
    (task,) = built.tasks
    text = f"Good day to you. {task.user.opening} Kindest regards"
    provider.behave(Behaviour(text=text))
    found = reword(built.world, built.tasks, model())
    assert [one.user.opening for one in found.tasks] == [text]
    assert found.counts == {"rewritten": 1}


def test_a_busy_server_is_asked_again_and_one_that_stays_so_is_given_up(provider, model):
    provider.once(Behaviour(status=429), Behaviour(status=503), Behaviour(text="At last."))
    assert model().ask("Say something.", "Now.") == "At last."
    provider.behave(Behaviour(status=500))
    assert model().ask("Say something.", "Now.") is None


def test_what_can_never_work_ends_the_build_by_name(model):
    with pytest.raises(WordingEndpointError, match="answered 401") as wrong:
        model("sk-another").ask("a", "b")
    assert KEY in str(wrong.value)
    assert "sk-another" not in str(wrong.value)
    with pytest.raises(WordingEndpointError, match="cannot be reached"):
        model("", "http://127.0.0.1:1/v1").ask("a", "b")


def test_a_build_with_a_model_falls_back_where_it_must_and_keeps_the_key_to_itself(provider, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(KEY, SECRET)
    provider.behave(Behaviour(text="I would like my {money} back."))  # says none of the values
    request = Request(tmp_path / "w", ("railway",), count=3, seed=2, endpoint=Endpoint(provider.url, "words"))
    found = build(request, lambda _: None)
    save_report(found, report := make_report(found), page_of(report))
    counts = found.manifest["worlds"]["railway"]["reworded"]
    assert counts["requests: a value that the user knew is missing"] == 3
    assert sum(counts.values()) == 3 + len(find_domain("railway").intents)
    assert found.manifest["wording_model"] == "words"
    written = b"".join(path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file())
    assert SECRET.encode() not in written
    assert provider.url.encode() not in written
    assert SECRET not in caplog.text
    plain = build(Request(tmp_path / "plain", ("railway",), count=3, seed=2), lambda _: None)
    assert [task.user.opening for task in found.all_tasks] == [task.user.opening for task in plain.all_tasks]
    assert json.loads((tmp_path / "w/manifest.json").read_text())["worlds"]["railway"]["audit"]["echo"] == 0
