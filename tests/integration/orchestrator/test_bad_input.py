"""Bad requests, bad tools and bad manifests: a clear error that names the place and the fix; everything else goes on."""

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.peers import BIG, ToolPeer
from tests.support.platform import Platform, PlatformFactory, expert, manager, manifest, tool, wait_until
from toolorchestra.executors.testing import Behaviour, CountingProvider

pytestmark = pytest.mark.timeout(120)

MAX_RESULT_BYTES = 4_096
HELLO = [{"role": "user", "content": "hello"}]


def strict(name: str, url: str, **spec: object) -> dict[str, object]:
    """A tool that is quick to refuse."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "string", "maxLength": 8}},
        "required": ["n"],
        "additionalProperties": False,
    }
    return tool(name, url, **{"parameters": schema, "timeout": "1s", "maxResultBytes": MAX_RESULT_BYTES, **spec})


@pytest.fixture(scope="module")
def platform(new_platform: PlatformFactory, provider: CountingProvider, tools: ToolPeer) -> Iterator[Platform]:
    with new_platform(provider, tools, TOOLORCHESTRA_DRAIN_MS="1000", TOOLORCHESTRA_MAX_BODY_BYTES="1048576") as made:
        made.apply(
            expert("small", provider),
            manager(),
            *(strict(name, f"{tools.url}/{name}") for name in ("look", "big", "binary", "hang", "broken")),
            strict("nowhere", "http://127.0.0.1:9/", timeout="2s"),
        )
        made.start()
        yield made


@pytest.fixture
def http(platform: Platform, provider: CountingProvider) -> httpx.Client:
    provider.behave(Behaviour(needs_tools=True))
    return platform.http()


def ask(http: httpx.Client, content: str = "hello", model: str = "manager", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return http.post("/v1/chat/completions", json=body)


def turns(*scripts: dict[str, Any]) -> str:
    return f"Go on. [[{json.dumps({'turns': scripts})}]]"


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The OpenAI error body; fails for any other form."""
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b'{"model": "manager", "messages": [', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"model":' * 50_000, "nested too deep"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a": "' + b"x" * 1_100_000 + b'"}', "longer than 1048576 bytes"),
    ],
    ids=["empty", "cut", "not text", "deep lists", "deep objects", "a list", "a text", "null", "too long"],
)
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, body: bytes, said: str) -> None:
    for path in ("/v1/chat/completions", "/v1/plan"):
        response = http.post(path, content=body)
        assert response.status_code in (400, 413)
        assert said in error_of(response)["message"]


FIELDS: list[tuple[str, dict[str, Any], str]] = [
    ("no messages", {"messages": []}, "messages"),
    ("messages of text", {"messages": "hello"}, "messages"),
    ("a message of text", {"messages": ["hello"]}, "messages.0"),
    ("no role", {"messages": [{"content": "hello"}]}, "messages"),
    ("an unknown role", {"messages": [{"role": "wizard", "content": "hello"}]}, "messages"),
    ("a role that is a list", {"messages": [{"role": ["user"], "content": "hello"}]}, "messages"),
    ("a role that is an object", {"messages": [{"role": {}, "content": "hello"}]}, "messages"),
    ("no content", {"messages": [{"role": "user"}]}, "messages"),
    ("content that is a number", {"messages": [{"role": "user", "content": 5}]}, "messages"),
    ("content of numbers", {"messages": [{"role": "user", "content": [1, 2]}]}, "messages"),
    ("a tool message without id", {"messages": [*HELLO, {"role": "tool", "content": "x"}]}, "messages"),
    ("a tool message with a number", {"messages": [*HELLO, {"role": "tool", "content": "x", "tool_call_id": 5}]}, "messages"),
    ("model missing", {"model": None}, "model"),
    ("a model that is a number", {"model": 7}, "model"),
    ("temperature as text", {"temperature": "warm"}, "temperature"),
    ("temperature too high", {"temperature": 3}, "temperature"),
    ("no tokens", {"max_tokens": 0}, "max_tokens"),
    ("half a token", {"max_tokens": 1.5}, "max_tokens"),
    ("stream as text", {"stream": "perhaps"}, "stream"),
    ("several answers", {"n": 3}, "n"),
    ("an unknown field", {"colour": "blue"}, "colour"),
    ("logprobs", {"logprobs": True}, "logprobs"),
    ("tools of text", {"tools": ["look"]}, "tools.0"),
    ("a tool without a name", {"tools": [{"type": "function", "function": {}}]}, "tools"),
    ("a tool with a number for a name", {"tools": [{"type": "function", "function": {"name": 5}}]}, "tools"),
    ("metadata of numbers", {"metadata": {"a": 1}}, "metadata.a"),
    ("metadata too long", {"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
    ("an unknown extension", {"toolorchestra": {"speed": 1}}, "toolorchestra.speed"),
    ("extension of text", {"toolorchestra": "fast"}, "toolorchestra"),
    ("a cost in words", {"toolorchestra": {"max_cost_usd": "much"}}, "toolorchestra.max_cost_usd"),
    ("too many turns", {"toolorchestra": {"max_turns": 51}}, "toolorchestra.max_turns"),
    ("a session with a space", {"toolorchestra": {"session": "my session"}}, "toolorchestra.session"),
    ("a preference out of range", {"toolorchestra": {"preference": {"weights": {"cost": 2}}}}, "weights.cost"),
]


@pytest.mark.parametrize(("fields", "named"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_a_wrong_field_is_named(http: httpx.Client, provider: CountingProvider, fields: dict[str, Any], named: str) -> None:
    asked = len(provider.bill.entries)
    response = http.post("/v1/chat/completions", json={"model": "manager", "messages": HELLO, **fields})
    assert response.status_code == 400, response.text
    error = error_of(response)
    assert error["type"] == "invalid_request_error"
    assert named in f"{error['param']} {error['message']}"
    assert len(provider.bill.entries) == asked, "nothing was spent"


HEADERS = [
    ("a cost in words", {"x-toolorchestra-max-cost-usd": "much"}, "max_cost"),
    ("a negative cost", {"x-toolorchestra-max-cost-usd": "-1"}, "max_cost"),
    ("a preference without end", {"x-toolorchestra-preference": "cheap, " * 400 + "please"}, "preference"),
    ("a key without end", {"idempotency-key": random.Random(1).randbytes(4_000).hex()}, "Idempotency-Key"),
]


@pytest.mark.parametrize(("headers", "named"), [h[1:] for h in HEADERS], ids=[h[0] for h in HEADERS])
def test_a_wrong_header_is_named(http: httpx.Client, headers: dict[str, str], named: str) -> None:
    response = http.post("/v1/chat/completions", json={"model": "manager", "messages": HELLO}, headers=headers)
    assert response.status_code == 400, response.text
    error = error_of(response)
    assert named in f"{error['param']} {error['message']}"


def test_text_that_no_database_takes_is_taken(http: httpx.Client) -> None:
    odd = "nul \x00, half a pair \ud800, and an emoji 🙂"
    body = json.dumps({"model": "manager", "messages": [{"role": "user", "content": odd}], "metadata": {"a\x00b": odd}})
    response = http.post("/v1/chat/completions", content=body)
    assert response.status_code == 200, response.text
    run = http.get(f"/v1/runs/{response.json()['toolorchestra']['run_id']}").json()
    assert "🙂" in run["messages"][0]["content"]


@pytest.mark.parametrize("model", ["nobody", "default/nobody", "other/small", "small ", "", "x" * 300, "../small"])
def test_an_unknown_model_is_not_found(http: httpx.Client, model: str) -> None:
    response = ask(http, model=model)
    assert response.status_code in (400, 404)
    assert error_of(response)["param"] == "model"
    assert "/v1/models" in error_of(response)["message"] or response.status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_calls_that_cannot_be_made_are_observations_and_the_run_goes_on(
    http: httpx.Client, provider: CountingProvider, tools: ToolPeer, stream: bool
) -> None:
    visits = len(tools.visits)
    script = turns(
        {"call": ["nobody", {}]},
        {"call": ["look", {}]},
        {"call": ["look", {"n": 5}]},
        {"call": ["look", {"n": "far too long for this"}]},
        {"call": ["look", {"n": "ok", "m": "more"}]},
        {"call": ["look", {"n": "good"}]},
        {"text": "At last."},
    )
    response = ask(http, script, stream=stream)
    assert response.status_code == 200
    assert "At last." in "".join(_contents(response)) if stream else response.json()["choices"][0]["message"]["content"]
    run = http.get(f"/v1/runs/{response.headers['x-toolorchestra-run-id']}").json()
    results = [call["result"] for turn in run["turns"] for call in turn["calls"]]
    assert [turn["calls"][0]["status"] for turn in run["turns"][:-1]] == ["error"] * 5 + ["ok"]
    for result, named in zip(results, ("nobody", "n", "n", "n", "m"), strict=False):
        assert named in result
    assert "there are: " in results[0], "the manager is told what there is"
    assert len(tools.visits) == visits + 1


def _contents(response: httpx.Response) -> Iterator[str]:
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                yield choice["delta"].get("content") or ""


BAD_TOOLS = [
    ("big", "ok", "0123456789abcdef"),
    ("binary", "error", "application/octet-stream|binary"),
    ("hang", "timeout", "did not finish within"),  # the time left, which is a little less than a second
    ("broken", "error", "HTTP 500"),
    ("nowhere", "denied", "127.0.0.1:9"),
]


@pytest.mark.parametrize(("name", "status", "said"), BAD_TOOLS, ids=[t[0] for t in BAD_TOOLS])
def test_a_bad_tool_is_an_observation_and_the_run_goes_on(http: httpx.Client, name: str, status: str, said: str) -> None:
    response = ask(http, turns({"call": [name, {"n": "1"}]}, {"text": "Answered all the same."}))
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == "Answered all the same."
    run = http.get(f"/v1/runs/{response.json()['toolorchestra']['run_id']}").json()
    call = run["turns"][0]["calls"][0]
    assert call["status"] == status, call
    assert any(part in call["result"] for part in said.split("|"))
    assert len(call["result"].encode()) <= MAX_RESULT_BYTES < BIG


def test_a_model_that_hangs_ends_the_run_in_its_time(http: httpx.Client, provider: CountingProvider) -> None:
    provider.behave(Behaviour(hang_after=0))
    began = time.monotonic()
    response = ask(http, toolorchestra={"timeout_seconds": 3})
    assert time.monotonic() - began < 8
    assert response.status_code == 200
    assert response.json()["toolorchestra"]["status"] == "failed"
    assert "did not finish within" in response.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("misfortune", [{"status": 500}, {"status": 429}, {"abort_after": 0}, {"text": ""}, {"tokens": 0}])
def test_a_model_that_only_fails_is_a_clear_end(
    http: httpx.Client, provider: CountingProvider, misfortune: dict[str, Any]
) -> None:
    provider.behave(Behaviour(**misfortune))
    response = ask(http)
    assert response.status_code == 200
    assert response.json()["toolorchestra"]["status"] == "failed"
    assert response.json()["choices"][0]["finish_reason"] == "length"
    assert "I could not answer" in response.json()["choices"][0]["message"]["content"]
    assert len(response.json()["toolorchestra"]["reason"]) > 10


@pytest.mark.parametrize(("name", "status", "said"), BAD_TOOLS, ids=[t[0] for t in BAD_TOOLS])
def test_a_bad_tool_called_directly_says_so(http: httpx.Client, name: str, status: str, said: str) -> None:
    response = http.post(f"/v1/tools/{name}/call", json={"arguments": {"n": "1"}})
    assert response.status_code == 200
    assert response.json()["status"] == status
    assert any(part in response.json()["content"] for part in said.split("|"))


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("nobody", {"arguments": {}}, 404, "GET /v1/tools"),
        ("look", {"arguments": "n"}, 400, "arguments as a JSON object"),
        ("look", ["n"], 400, "arguments as a JSON object"),
        ("look", {"argument": {"n": "1"}}, 400, "argument"),
    ],
)
def test_a_direct_call_that_cannot_be_made_says_why(http: httpx.Client, path: str, body: Any, status: int, said: str) -> None:
    response = http.post(f"/v1/tools/{path}/call", json=body)
    assert response.status_code == status, response.text
    assert said in error_of(response)["message"]


def test_a_direct_call_with_wrong_arguments_calls_nobody(http: httpx.Client, tools: ToolPeer) -> None:
    visits = len(tools.visits)
    response = http.post("/v1/tools/look/call", json={"arguments": {"n": 7}})
    assert (response.status_code, response.json()["status"]) == (200, "error")
    assert "n" in response.json()["content"]
    assert len(tools.visits) == visits


MANIFESTS = {
    "yaml.yaml": ("kind: Tool\nmetadata: [", ("yaml.yaml", "not valid YAML")),
    "backends.yaml": (
        json.dumps(
            manifest(
                "Tool",
                "two",
                {"description": "Two.", "http": {"url": "http://127.0.0.1/"}, "plugin": {"name": "calculator"}},
            )
        ),
        ("backends.yaml", "two", "exactly one of http", "http", "plugin"),
    ),
    "field.yaml": (
        json.dumps(manifest("Tool", "odd", {"description": "Odd.", "plugin": {"name": "calculator"}, "colour": "blue"})),
        ("field.yaml", "spec.colour", "unknown field", "remove it"),
    ),
    "kind.yaml": (json.dumps(manifest("Wizard", "w", {})), ("kind.yaml", "Wizard", "one of Tool")),
    "schema.yaml": (
        json.dumps(
            manifest("Tool", "s", {"description": "S.", "plugin": {"name": "calculator"}, "parameters": {"type": "strange"}})
        ),
        ("schema.yaml", "spec.parameters", "not a usable JSON Schema"),
    ),
    "binary.yaml": (b"\xff\xfe\x00".decode("latin-1"), ("binary.yaml",)),
    "plugin.yaml": (
        json.dumps(manifest("Tool", "ghost", {"description": "G.", "plugin": {"name": "ghost"}})),
        ("ghost", "not ready"),
    ),
}


def test_broken_manifests_are_named_with_field_and_fix_and_the_rest_is_served(platform: Platform, http: httpx.Client) -> None:
    good = {f["name"] for f in http.get("/v1/tools").json()["data"]}
    for name, (text, _) in MANIFESTS.items():
        (platform.manifests / name).write_bytes(text.encode("latin-1"))

    def problems() -> list[str]:
        return [f"{p['source']}: {p['message']}" for p in http.get("/v1/tools").json()["problems"]]

    try:
        wait_until(lambda: len(problems()) == len(MANIFESTS))
        for words in (words for _, words in MANIFESTS.values()):
            assert any(all(word in problem for word in words) for problem in problems()), (words, problems())
        assert good <= {f["name"] for f in http.get("/v1/tools").json()["data"]}
        response = ask(http, turns({"call": ["look", {"n": "still"}]}, {"text": "Still here."}))
        assert response.json()["choices"][0]["message"]["content"] == "Still here."
    finally:
        for name in MANIFESTS:
            (platform.manifests / name).unlink()
    wait_until(lambda: problems() == [])


def test_a_tool_that_breaks_while_it_is_edited_is_served_as_it_was(platform: Platform, http: httpx.Client) -> None:
    path = platform.manifests / "edited.yaml"
    path.write_text(json.dumps(manifest("Tool", "edited", {"description": "Once.", "plugin": {"name": "calculator"}})))
    wait_until(lambda: "edited" in {f["name"] for f in http.get("/v1/tools").json()["data"]})
    path.write_text(path.read_text().replace('"description"', '"descripton"'))
    try:
        wait_until(lambda: bool(http.get("/v1/tools").json()["problems"]))
        assert "edited" in {f["name"] for f in http.get("/v1/tools").json()["data"]}
        assert "descripton" in http.get("/v1/tools").json()["problems"][0]["message"]
    finally:
        path.unlink()
    wait_until(lambda: http.get("/v1/tools").json()["problems"] == [])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nowhere", 404),
        ("POST", "/v2/chat/completions", 404),
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/v1/runs", 405),
        ("GET", "/v1/runs/run-00000000000000000000", 404),
        ("GET", "/v1/runs/%00", 400),
        ("GET", "/v1/runs/run-00000000000000000000/events", 404),
        ("POST", "/v1/runs/run-00000000000000000000/cancel", 404),
        ("DELETE", "/v1/runs/run-00000000000000000000", 404),
        ("GET", "/v1/runs?limit=0", 400),
        ("GET", "/v1/runs?limit=many", 400),
        ("GET", "/v1/models/nobody", 404),
        ("GET", "/admin/v1/tenants/default/keys", 403),
    ],
)
def test_paths_that_lead_nowhere_answer_in_the_same_form(http: httpx.Client, method: str, path: str, status: int) -> None:
    response = http.request(method, path)
    assert response.status_code == status, response.text
    error_of(response)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic dXNlcjpwYXNz", "Bearer to_0000000000000000.wrong", "Bearer ü\x00"]
)
def test_who_has_no_key_is_nobody(platform: Platform, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("utf-8").replace(b"\x00", b"")}
    response = httpx.get(f"{platform.url}/v1/models", headers=headers)
    assert response.status_code == 401
    assert error_of(response)["code"] == "invalid_api_key"


def test_after_all_this_the_process_is_well(platform: Platform, http: httpx.Client) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: ask(platform.http(), f"{n}"), range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert '"unexpected_error"' not in platform.replicas[0].log.read_text()
    assert httpx.get(f"{platform.url}/readyz").status_code == 200
    assert platform.violations() == []
    assert platform.held_nano_usd() == 0
