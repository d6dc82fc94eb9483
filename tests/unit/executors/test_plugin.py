import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from toolorchestra.core.calls import CallRequest, Status
from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError
from toolorchestra.core.functions import Function, ToolTarget
from toolorchestra.core.plugins import PluginContext, PluginFactory, PluginResult, Readiness, ToolPlugin
from toolorchestra.core.pricing import Price
from toolorchestra.core.resources import ToolSpec
from toolorchestra.executors.plugin import PluginExecutor, Plugins, installed
from toolorchestra.kit.secrets import EnvironmentSecrets


class Sample:
    """A plug-in that does what its arguments say."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        if "odd" in config:
            raise RuntimeError("secret-detail")
        self.config = config

    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        match arguments.get("do"):
            case "refuse":
                raise InvalidArgumentsError("x must be positive", param="x", hint="send 1")
            case "crash":
                raise RuntimeError("secret-detail")
            case "hang":
                await asyncio.sleep(60)
        seen = {"secrets": dict(context.secrets), "key": context.idempotency_key, "session": context.session}
        return PluginResult(arguments.get("give", seen), {"rung": "process"})

    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        if "fail" in self.config:
            raise RuntimeError("secret-detail")
        return Readiness(ready=bool(secrets), reason="Ready" if secrets else "NoKey")


BUILT: list[Mapping[str, Any]] = []


def find(name: str) -> PluginFactory:
    if name != "sample":
        return installed(name)

    def build(config: Mapping[str, Any]) -> ToolPlugin:
        BUILT.append(config)
        return Sample(config)

    return build


def plugins(environ: Mapping[str, str] | None = None) -> Plugins:
    BUILT.clear()
    return Plugins(EnvironmentSecrets(environ or {}), find=find)


def call(arguments: Mapping[str, Any], timeout_ms: int = 1_000, **plugin: Any) -> CallRequest:
    spec = ToolSpec.model_validate({"description": "d", "plugin": {"name": "sample", **plugin}})
    function = Function(
        name="sample", description="d", parameters={}, target=ToolTarget(namespace="default", name="sample", spec=spec),
        side_effects="readOnly", execution="inline", price=Price(), timeout_ms=1_000,
    )  # fmt: skip
    return CallRequest(
        call_id="c", run_id="r", tenant="t", function=function, arguments=arguments, attempt=1,
        idempotency_key="r/1/1", timeout_ms=timeout_ms, session="s",
    )  # fmt: skip


SECRETS = {"token": {"name": "svc", "key": "api-key"}}


async def test_a_plugin_gets_its_context_and_its_secrets() -> None:
    executor = PluginExecutor(plugins({"SVC_API_KEY": "v"}))
    outcome = await executor.execute(call({}, secrets=SECRETS))
    assert outcome.status is Status.OK
    assert outcome.content == '{"secrets": {"token": "v"}, "key": "r/1/1", "session": "s"}'
    assert outcome.details == {"rung": "process"}


async def test_text_is_passed_on_and_other_values_are_json() -> None:
    executor = PluginExecutor(plugins())
    assert (await executor.execute(call({"give": "grüß"}))).content == "grüß"
    assert (await executor.execute(call({"give": ["ü", 1, None]}))).content == '["ü", 1, null]'


async def test_a_missing_secret_is_told_and_nothing_runs() -> None:
    outcome = await PluginExecutor(plugins()).execute(call({}, secrets=SECRETS))
    assert (outcome.status, outcome.sent) == (Status.ERROR, False)
    assert "set the environment variable SVC_API_KEY" in outcome.content


async def test_what_a_plugin_refuses_reaches_the_model_in_words() -> None:
    outcome = await PluginExecutor(plugins()).execute(call({"do": "refuse"}))
    assert (outcome.status, outcome.error_code) == (Status.ERROR, "invalid_arguments")
    assert outcome.content == "x must be positive (send 1)"


async def test_a_crash_shows_its_type_only_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        outcome = await PluginExecutor(plugins()).execute(call({"do": "crash"}))
    assert outcome.status is Status.ERROR
    assert "RuntimeError" in outcome.content
    assert "secret-detail" not in outcome.content
    assert "secret-detail" in caplog.text


async def test_a_hanging_plugin_ends_at_the_deadline() -> None:
    outcome = await PluginExecutor(plugins()).execute(call({"do": "hang"}, timeout_ms=30))
    assert (outcome.status, outcome.sent) == (Status.TIMEOUT, True)


async def test_cancellation_reaches_the_plugin() -> None:
    task = asyncio.create_task(PluginExecutor(plugins()).execute(call({"do": "hang"})))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_instance_per_name_and_configuration() -> None:
    executor = PluginExecutor(plugins())
    for config in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}):
        await executor.execute(call({}, config=config))
    assert BUILT == [{"a": 1, "b": 2}, {"a": 2}]


async def test_a_configuration_that_a_plugin_cannot_take_is_an_error_of_the_manifest() -> None:
    outcome = await PluginExecutor(plugins()).execute(call({}, config={"odd": 1}))
    assert (outcome.status, outcome.sent, outcome.error_code) == (Status.ERROR, False, "invalid_manifest")
    assert "secret-detail" not in outcome.content


async def test_a_check_says_what_is_missing_and_survives_a_broken_plugin() -> None:
    backend = call({}, secrets=SECRETS).function.target.spec.plugin
    assert (await plugins().check(backend, "default")).reason == "NoKey"
    assert (await plugins({"SVC_API_KEY": "v"}).check(backend, "default")).ready
    broken = call({}, config={"fail": True}).function.target.spec.plugin
    assert (await plugins().check(broken, "default")).reason == "CheckFailed"


def test_a_plugin_that_is_not_installed_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidManifestError, match=r"'nope' is not installed \(installed: .*calculator"):
        installed("nope")


def test_an_entry_point_of_an_installed_distribution_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "sample-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
    lines = ["[toolorchestra.tools]", "works = sample_plugin:create", "breaks = sample_plugin_that_breaks:create"]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "sample_plugin.py").write_text("def create(config): return config\n")
    (tmp_path / "sample_plugin_that_breaks.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("works")({"a": 1}) == {"a": 1}
    with pytest.raises(InvalidManifestError, match="cannot be loaded"):
        installed("breaks")
