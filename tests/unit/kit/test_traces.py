import json
import os
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.kit.semconv import COST_NANO_USD
from toolorchestra.kit.settings import TelemetrySettings
from toolorchestra.kit.telemetry import build_telemetry, extract, inject
from toolorchestra.kit.traces import SpanRecord, build_tree, find_trace


@pytest.fixture
def telemetry(tmp_path):
    """Builds tracing into a folder and ends it with the test."""
    built = []

    def build(**settings):
        built.append(build_telemetry("test", TelemetrySettings(traces_folder=tmp_path, delay_ms=50, **settings)))
        return built[-1]

    yield build
    for one in built:
        one.shutdown()


def trace_id(span) -> str:
    return trace.format_trace_id(span.get_span_context().trace_id)


def test_spans_are_read_back_as_the_tree_they_were(telemetry, tmp_path):
    one = telemetry()
    tracer = one.provider.get_tracer("t")
    with tracer.start_as_current_span("run", attributes={COST_NANO_USD: 700}) as root:
        with tracer.start_as_current_span("turn 1"), tracer.start_as_current_span("chat", attributes={COST_NANO_USD: 300}):
            pass
        with tracer.start_as_current_span("turn 2"):
            pass
    one.flush()
    (tree,) = build_tree(find_trace(tmp_path, trace_id(root)))
    assert [(depth, span.name, span.cost_nano_usd) for depth, span in tree.walk()] == [
        (0, "run", 700),
        (1, "turn 1", None),
        (2, "chat", 300),
        (1, "turn 2", None),
    ]
    assert all(span.service == "test" and span.duration_ms >= 0 for _, span in tree.walk())


def test_a_failed_span_tells_what_failed(telemetry, tmp_path):
    one = telemetry()
    with pytest.raises(ValueError, match="no"), one.provider.get_tracer("t").start_as_current_span("work") as span:
        raise ValueError("no")
    one.flush()
    (record,) = find_trace(tmp_path, trace_id(span))
    assert (record.status, record.message) == ("error", "ValueError: no")
    assert record.events[0]["attributes"]["exception.type"] == "ValueError"


def test_a_finished_span_can_be_read_within_a_second(telemetry, tmp_path):
    with telemetry().provider.get_tracer("t").start_as_current_span("work") as span:
        pass
    deadline = time.monotonic() + 1
    while not find_trace(tmp_path, trace_id(span)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_large_file_is_followed_by_another(telemetry, tmp_path):
    one = telemetry(max_file_bytes=10_000)
    tracer = one.provider.get_tracer("t")
    for _ in range(4):
        with tracer.start_as_current_span("work", attributes={"text": "x" * 6_000}) as span:
            pass
        one.flush()
    assert len(list(tmp_path.iterdir())) == 2
    assert find_trace(tmp_path, trace_id(span))


def test_old_files_and_too_many_are_removed_and_others_stay(telemetry, tmp_path):
    ages_s = {"ancient": 9 * 86_400, "older": 2_000, "newer": 1_000}
    for name, age_s in ages_s.items():
        path = tmp_path / f"{name}.spans.jsonl"
        path.write_text("x" * 6_000)
        os.utime(path, (time.time() - age_s,) * 2)
    (tmp_path / "notes.txt").write_text("x")
    one = telemetry(max_folder_bytes=10_000)
    with one.provider.get_tracer("t").start_as_current_span("work"):
        pass
    one.flush()
    left = {path.name for path in tmp_path.iterdir() if "test" not in path.name}
    assert left == {"newer.spans.jsonl", "notes.txt"}


def test_spans_files_are_private(telemetry, tmp_path):
    one = telemetry()
    with one.provider.get_tracer("t").start_as_current_span("work"):
        pass
    one.flush()
    assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0]


def test_a_folder_that_cannot_be_written_costs_no_more_than_the_traces(tmp_path):
    (tmp_path / "file").write_text("in the way")
    one = build_telemetry("test", TelemetrySettings(traces_folder=tmp_path / "file"))
    with one.provider.get_tracer("t").start_as_current_span("work"):
        pass
    one.shutdown()


def test_without_a_place_for_traces_nothing_is_written(tmp_path):
    one = build_telemetry("test", TelemetrySettings())
    with one.provider.get_tracer("t").start_as_current_span("work") as span:
        assert span.is_recording()
    one.shutdown()


def test_a_trace_goes_on_across_a_message():
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    with tracer.start_as_current_span("sender") as sender:
        headers = inject()
    with tracer.start_as_current_span("receiver", context=extract({"Traceparent": headers["traceparent"]})) as receiver:
        pass
    assert trace_id(receiver) == trace_id(sender)
    assert receiver.parent.span_id == sender.get_span_context().span_id


def test_outside_a_trace_there_is_nothing_to_pass_on():
    assert inject() == {}


@pytest.mark.parametrize("bad", ["", "xyz", "12", "../../etc/passwd", "g" * 32])
def test_a_bad_trace_id_is_refused(tmp_path, bad):
    with pytest.raises(InvalidRequestError, match="32 hexadecimal digits"):
        find_trace(tmp_path, bad)


def test_an_unknown_trace_and_a_missing_folder_have_no_spans(tmp_path):
    assert find_trace(tmp_path / "missing", "0" * 32) == []


def test_broken_lines_are_passed_over(tmp_path):
    good = {"trace_id": "a" * 32, "span_id": "b" * 16, "name": "n", "start_ns": 1, "end_ns": 2}
    lines = [json.dumps(good)[:-9], "{}", json.dumps({**good, "attributes": {"about": "a" * 32}}), json.dumps(good)]
    (tmp_path / "x.spans.jsonl").write_text("\n".join(lines))
    assert [span.span_id for span in find_trace(tmp_path, "a" * 32)] == ["b" * 16]


def span(name: str, *, parent: str | None, start: int) -> SpanRecord:
    return SpanRecord(trace_id="a" * 32, span_id=name, parent_id=parent, name=name, start_ns=start, end_ns=start + 1_500_000)


def test_a_span_whose_parent_was_recorded_elsewhere_is_a_root():
    roots = build_tree([span("child", parent="remote", start=2), span("first", parent=None, start=1)])
    assert [root.span.name for root in roots] == ["first", "child"]
    assert roots[0].span.duration_ms == 1.5
