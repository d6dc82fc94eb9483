"""What the plug-in answers for each end that code can come to. The runner is a fake; the real one has its own tests."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError, UpstreamTimeoutError
from toolorchestra.core.plugins import PluginContext
from toolorchestra.core.resources import Tool, parse_resource
from toolorchestra.tools.python.probing import code_for
from toolorchestra.tools.python.sandbox import CodeRunner, Limits, Report
from toolorchestra.tools.python.tool import PythonTool, create

CONTEXT = PluginContext(call_id="c", tenant="t", timeout_ms=5_000, idempotency_key="k")
LAYERS = {"network": "namespace", "files": "namespace", "seccomp": True}


@dataclass
class FakeRunner(CodeRunner):
    """Answers with a report, or raises; remembers the time it was given."""

    answer: Report
    timeouts: list[int] = field(default_factory=list)

    async def run(self, code: str, *, timeout_ms: int) -> Report:
        self.timeouts.append(timeout_ms)
        return self.answer


async def answer(report: Report) -> object:
    return (await PythonTool(FakeRunner(report)).run({"code": "1"}, CONTEXT)).content


@pytest.mark.parametrize(
    ("report", "content"),
    [
        (Report("hello\n", truncated=False, finished=True), "hello"),
        (Report("", truncated=False, value="4", finished=True), "4"),
        (Report("a\nb\n", truncated=False, value="4", finished=True), "a\nb\n4"),
        (Report("aaa", truncated=True, finished=True), "aaa\n[output cut]"),
        (Report("", truncated=False, finished=True), "(no output; print what you want to see)"),
        (Report("left early\n", truncated=False, status=0), "left early"),
    ],
)
async def test_a_finished_program_answers_with_output_and_value(report: Report, content: str) -> None:
    assert await answer(report) == content


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (
            Report("before\n", truncated=False, error="ValueError: no", kind="ValueError", finished=True),
            "before\nValueError: no",
        ),
        (
            Report("", truncated=False, error="ModuleNotFoundError: x", kind="ModuleNotFoundError"),
            "only Python's standard library",
        ),
        (Report("", truncated=False, error="PermissionError: x", kind="PermissionError"), "no network"),
        (Report("x", truncated=True, stopped="output"), "too much output"),
        (Report("", truncated=False, stopped="disk", status=-9), "too many or too large files"),
        (Report("", truncated=False, status=-11), "killed by signal 11"),
        (Report("", truncated=False, status=4), "exit status 4"),
        (Report("", truncated=False), "no reason given"),
    ],
)
async def test_a_failed_program_is_an_error_that_the_model_can_read(report: Report, says: str) -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        await answer(report)
    assert says in caught.value.message
    assert not caught.value.retryable


async def test_a_program_that_ran_too_long_is_a_timeout_with_what_it_said() -> None:
    with pytest.raises(UpstreamTimeoutError, match=r"step 1\n\[stopped: the code ran longer than 4.7 s\]"):
        await answer(Report("step 1\n", truncated=False, stopped="time"))


async def test_the_code_is_stopped_a_little_before_the_callers_deadline() -> None:
    runner = FakeRunner(Report("", truncated=False, value="1", finished=True, layers=LAYERS))
    result = await PythonTool(runner).run({"code": "1"}, CONTEXT)
    assert runner.timeouts == [4_700]
    assert result.details == {"sandboxRung": "process", **LAYERS, "truncated": False}


@pytest.mark.parametrize("arguments", [{}, {"code": ""}, {"code": "  \n"}, {"code": 5}, {"code": "1" * 100_001}])
async def test_arguments_that_are_no_code_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentsError, match="code"):
        await PythonTool(FakeRunner(Report("", truncated=False))).run(arguments, CONTEXT)


@pytest.mark.parametrize(
    ("config", "says"),
    [({"memory": 5}, "memory: unknown field"), ({"memory_mb": 1}, "memory_mb"), ({"output_bytes": "many"}, "output_bytes")],
)
def test_settings_that_do_not_exist_or_fit_are_refused(config: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidManifestError, match=says):
        create(config)


def test_limits_are_sane_by_default() -> None:
    assert Limits() == Limits(memory_bytes=512 * 2**20, disk_bytes=32 * 2**20, output_bytes=32_768)


def test_the_probe_is_a_program_of_its_own() -> None:
    code = code_for({"connect": [], "read": ["/etc/it's"], "write": []})
    compile(code, "probe", "exec")
    assert "toolorchestra" not in code


def test_the_manifest_is_valid() -> None:
    path = Path(__file__).parents[4] / "tools/python/tool.yaml"
    tool = parse_resource(yaml.safe_load(path.read_text()), source=path.name)
    assert isinstance(tool, Tool)
    assert tool.spec.capabilities == ["code"]
    assert (tool.spec.execution, tool.spec.side_effects, tool.spec.timeout) == ("sandbox", "readOnly", "20s")
