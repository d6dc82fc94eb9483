"""Every command against a platform that speaks the contract on loopback: what it prints, sends, and ends with."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.integration.cli.contract_server import BUDGET, PROBLEM, RUN_ID, ContractServer
from tests.unit.cli.samples import ANSWER, TRACE_ID
from toolorchestra.cli.main import FAILURE, run
from toolorchestra.kit.traces import SpanRecord

KEY = "to_1.secret"
COMMAND = (sys.executable, "-m", "toolorchestra.cli")


@pytest.fixture
def server() -> Iterator[ContractServer]:
    with ContractServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def world(server):
    return server.world


@pytest.fixture
def cli(server, capsys, monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Run a command against the server; its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "admin-token").write_text("admin-token\n")
    monkeypatch.setenv("TOOLORCHESTRA_URL", server.url)
    monkeypatch.setenv("TOOLORCHESTRA_API_KEY", KEY)
    monkeypatch.setenv("TOOLORCHESTRA_ADMIN_TOKEN_FILE", str(tmp_path / "admin-token"))

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return command


def test_the_answer_alone_goes_to_standard_output(cli):
    code, out, err = cli("ask", "What is the capital of France?")
    assert (code, out) == (0, f"{ANSWER}\n")
    assert "→ local(question='…')  (the cheapest expert)" in err
    assert "completed · 3 turns · 2 calls" in err
    assert TRACE_ID in err


def test_what_was_wished_is_what_is_sent(cli, world):
    cli(
        *("ask", "hello", "--model", "local", "--prefer", "cheap if possible"),
        *("--max-cost", "$0.05", "--max-turns", "3", "--timeout", "2m"),
    )
    (body,) = world.bodies("/v1/chat/completions")
    assert body["model"] == "local"
    assert body["stream"] is True
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert body["toolorchestra"] == {
        "preference": "cheap if possible",
        "max_cost_usd": "0.05",
        "max_turns": 3,
        "timeout_seconds": 120.0,
    }


def test_without_wishes_the_orchestrator_decides(cli, world):
    cli("ask", "hello")
    assert world.bodies("/v1/chat/completions")[0]["toolorchestra"] == {}


def test_an_answer_as_json_holds_the_run(cli):
    code, out, err = cli("ask", "hello", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["answer"] == ANSWER
    assert found["toolorchestra"]["cost_usd"] == "0.0003512"
    assert found["run"]["turns"][1]["calls"][0]["function"] == "local"


def test_a_dry_run_asks_for_a_plan_only(cli, world):
    code, out, _ = cli("ask", "17*23", "--dry-run", "--max-cost", "0.05")
    assert code == 0
    assert "gpt-5-mini" in out
    assert "$0.0082" in out
    assert "max cost" in out
    assert world.bodies("/v1/chat/completions") == []
    assert world.bodies("/v1/plan")[0]["toolorchestra"] == {"max_cost_usd": "0.05"}


@pytest.mark.parametrize(
    ("question", "says", "fix"),
    [
        ("broke today", "day: $1.00 of $1.00 are spent", "toolorchestra budget show"),
        ("broke today", "raise --max-cost if you gave one", "a BudgetPolicy sets the limits"),
        ("cut the line", "broke off before its end", "toolorchestra runs show"),
        ("fails in between", "the model's server went away", ""),
    ],
)
def test_a_question_that_fails_says_why_and_what_to_do(cli, question, says, fix):
    code, _, err = cli("ask", question)
    assert code == FAILURE
    assert says in err
    assert fix in err


def test_a_run_that_ends_without_success_is_a_failure(cli):
    code, out, _ = cli("ask", "unsure about it")
    assert (code, out) == (FAILURE, f"{ANSWER}\n")


def test_an_unknown_model_points_to_the_list(cli):
    code, _, err = cli("ask", "hello", "--model", "nobody")
    assert code == FAILURE
    assert "'nobody' does not exist" in err
    assert "`toolorchestra models`" in err


def test_a_wrong_key_is_never_repeated_and_says_where_to_get_one(cli):
    code, _, err = cli("models", "--key", "to_9.wrong")
    assert code == FAILURE
    assert "the API key is unknown" in err
    assert "toolorchestra keys create" in err
    assert "to_9.wrong" not in err


def test_a_wrong_administrators_token_names_the_option(cli, tmp_path):
    (tmp_path / "other").write_text("other")
    code, _, err = cli("budget", "show", "--admin-token-file", "other")
    assert code == FAILURE
    assert "--admin-token-file" in err


def test_an_address_without_a_server_says_how_to_start_one(cli, server):
    port = server.server_port
    code, _, err = cli("models", "--url", f"http://127.0.0.1:{_closed_port(port)}")
    assert code == FAILURE
    assert "nothing answers" in err
    assert "toolorchestra up" in err


def _closed_port(taken: int) -> int:
    with ContractServer() as other:
        port = other.server_port
    assert port != taken
    return port


def test_an_address_that_is_none_is_named(cli):
    code, _, err = cli("models", "--url", "localhost")
    assert code == FAILURE
    assert "is not a URL" in err


def test_models_are_listed_with_what_they_are(cli):
    code, out, _ = cli("models")
    assert code == 0
    assert "baseline:cascade" in out
    assert "ExpertModel" in out


def test_lists_are_also_json(cli):
    for command in (["models"], ["runs", "list"], ["tools", "list"], ["budget", "show"], ["usage"], ["keys", "list"]):
        code, out, err = cli(*command, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["data"]


def test_runs_are_listed_and_the_next_page_is_told(cli):
    code, out, err = cli("runs", "list", "--limit", "1")
    assert code == 0
    assert RUN_ID in out
    assert f"--after {RUN_ID}" in err


def test_a_run_is_shown_by_its_id_or_as_the_newest(cli):
    code, by_id, _ = cli("runs", "show", RUN_ID)
    assert code == 0
    assert f"answer: {ANSWER}" in by_id
    assert cli("runs", "show")[1] == by_id


def test_an_unknown_run_is_not_found(cli):
    code, _, err = cli("runs", "show", "run/9 %")
    assert code == FAILURE
    assert "there is no run 'run/9 %'" in err


def test_a_trace_is_drawn_from_span_files(cli, tmp_path):
    traces = tmp_path / ".toolorchestra" / "traces"
    traces.mkdir(parents=True)
    span = SpanRecord(trace_id=TRACE_ID, span_id="1", name="invoke_agent", service="orchestrator", start_ns=0, end_ns=5_000_000)
    (traces / "today.spans.jsonl").write_text(span.model_dump_json() + "\n")
    code, out, _ = cli("runs", "show", "--trace")
    assert code == 0
    assert "invoke_agent  0.005 s  orchestrator" in out


def test_a_trace_that_is_elsewhere_says_where_to_look(cli):
    code, _, err = cli("runs", "show", "--trace")
    assert code == FAILURE
    assert "--traces" in err


def test_a_run_is_cancelled(cli, world):
    assert cli("runs", "cancel", RUN_ID)[0] == 0
    assert world.cancelled.is_set()


def test_a_run_is_deleted_once_that_was_confirmed(cli, world):
    code, _, _ = cli("runs", "delete", RUN_ID)
    assert (code, world.deleted) == (FAILURE, set())
    code, out, _ = cli("runs", "delete", RUN_ID, "--yes")
    assert (code, world.deleted) == (0, {RUN_ID})
    assert "removed" in out


def test_tools_show_price_readiness_and_the_fix(cli):
    code, out, _ = cli("tools", "list")
    assert code == 0
    assert "calculator" in out
    assert "free" in out
    assert "$0.008 per call" in out
    assert "SecretMissing" in out
    assert "TAVILY_API_KEY" in out


def test_a_broken_manifest_fails_the_check_and_is_named(cli, world):
    assert cli("tools", "check")[0] == 0
    world.problems.append(PROBLEM)
    code, _, err = cli("tools", "check")
    assert code == FAILURE
    assert PROBLEM["source"] in err
    assert PROBLEM["message"] in err


def test_a_tool_named_in_the_check_must_be_ready(cli):
    assert cli("tools", "check", "calculator")[0] == 0
    assert cli("tools", "check", "web-search")[0] == FAILURE
    code, _, err = cli("tools", "check", "hammer")
    assert code == FAILURE
    assert "no tool is named hammer" in err


def test_a_check_of_named_tools_shows_these_alone(cli):
    code, out, _ = cli("tools", "check", "web-search")
    assert code == FAILURE
    assert "web_search" in out or "web-search" in out
    assert "calculator" not in out


def test_the_name_of_a_manifest_means_all_functions_that_it_offers(cli, world):
    world.tools += [
        {"name": f"hr__{operation}", "resource": "hr", "kind": "Tool", "ready": ready}
        for operation, ready in (("find", True), ("leave", True))
    ]
    code, out, _ = cli("tools", "check", "hr")
    assert (code, "hr__find" in out, "hr__leave" in out) == (0, True, True)
    assert "calculator" not in out
    world.tools[-1]["ready"] = False
    assert cli("tools", "check", "hr")[0] == FAILURE
    assert cli("tools", "check", "hr__find")[0] == 0
    code, _, err = cli("tools", "check", "hr", "hammer")
    assert (code, "no tool is named hammer" in err) == (FAILURE, True)


def test_a_tool_is_called_by_hand(cli, world):
    code, out, err = cli("tools", "call", "calculator", "expression=17 * 23")
    assert (code, out) == (0, "391\n")
    assert "ok · 0.003 s · $0.00" in err
    assert world.bodies("/v1/tools/calculator/call") == [{"arguments": {"expression": "17 * 23"}}]


def test_a_call_that_ends_badly_is_a_failure(cli):
    code, out, _ = cli("tools", "call", "calculator", "expression=seventeen")
    assert (code, out) == (FAILURE, "the expression cannot be read\n")


def test_the_budget_shows_limits_and_what_is_left(cli):
    code, out, _ = cli("budget", "show")
    assert code == 0
    assert f"${BUDGET['data'][0]['remaining']}" in out
    assert " 996 " in out


def test_usage_is_grouped_as_wished(cli, world):
    code, out, _ = cli("usage", "--by", "key,metadata:team", "--since", "2026-11-01")
    assert code == 0
    assert "some key" in out
    assert "$0.0012" in out
    (asked,) = [path for _, path, _ in world.requests if "usage" in path]
    assert "group_by=key&group_by=metadata%3Ateam" in asked
    assert "since=2026-11-01T00%3A00%3A00%2B00%3A00" in asked


def test_what_was_spent_on_no_function_is_called_decisions(cli):
    code, out, _ = cli("usage")
    assert code == 0
    (decided,) = [line for line in out.splitlines() if "decisions" in line]
    assert "$0.0034" in decided
    assert "decisions" not in cli("usage", "--by", "model")[1]
    assert "decisions" not in cli("usage", "--json")[1], "programs get what is stored"


def test_usage_as_csv_is_printed_as_it_came(cli):
    assert cli("usage", "--csv") == (0, "BilledCost,BillingCurrency\n0.0012,USD\n", "")


def test_a_key_is_created_shown_once_listed_and_revoked(cli, world):
    code, out, _ = cli("keys", "create", "ci", "--model", "local", "--limit", "day=5.00", "--expires-in-days", "30")
    assert (code, out) == (0, "to_2.secret\n")
    wish = {"name": "ci", "models": ["local"], "expires_in_days": 30, "limits": {"limits": {"day": "5.00"}}}
    assert world.bodies("/admin/v1/tenants/default/keys") == [wish]
    code, listed, _ = cli("keys", "list")
    assert code == 0
    assert "ci" in listed
    assert "secret" not in listed
    assert cli("keys", "revoke", "2")[0] == 0
    assert cli("models", "--key", "to_2.secret")[0] == FAILURE


def test_a_question_is_read_from_standard_input(server):
    done = subprocess.run(
        [*COMMAND, "ask", "-", "--url", server.url, "--key", KEY],
        input="What is it?\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{ANSWER}\n"
    assert server.world.bodies("/v1/chat/completions")[0]["messages"][0]["content"] == "What is it?\n"


def test_a_proxy_is_not_asked_for_this_machine(server):
    environment = {**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [*COMMAND, "models", "--url", server.url, "--key", KEY], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0


def test_an_interrupted_question_is_cancelled(server):
    process = subprocess.Popen(
        [*COMMAND, "ask", "waits for ever", "--url", server.url, "--key", KEY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not server.world.bodies("/v1/chat/completions") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.stderr.readline().startswith("→ local")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert server.world.cancelled.is_set()
    assert "Traceback" not in err


def test_a_reader_that_goes_away_ends_the_command_quietly(server):
    process = subprocess.Popen(
        [*COMMAND, "models", "--json", "--url", server.url, "--key", KEY], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    _, err = process.communicate(timeout=20)
    assert b"Traceback" not in err
