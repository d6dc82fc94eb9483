"""Tracing of whole processes: across a fork, from a process that ends, and to a collector."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from toolorchestra.kit.settings import TelemetrySettings
from toolorchestra.kit.telemetry import build_telemetry
from toolorchestra.kit.traces import build_tree, find_trace

FORKING = """
    import os, sys, time
    from opentelemetry import trace
    from pathlib import Path
    from toolorchestra.kit.settings import TelemetrySettings
    from toolorchestra.kit.telemetry import configure_telemetry

    settings = TelemetrySettings(traces_folder=Path(sys.argv[1]), delay_ms=50)
    telemetry = configure_telemetry("parent", settings)
    with trace.get_tracer("t").start_as_current_span("parent") as span:
        print(format(span.get_span_context().trace_id, "032x"))
        if os.fork() == 0:
            in_child = configure_telemetry("child", settings)
            with trace.get_tracer("t").start_as_current_span("child"):
                pass
            in_child.shutdown()
            os._exit(0)
        os.wait()
"""


def test_parent_and_forked_child_both_write_their_spans_when_they_end(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(FORKING), str(tmp_path)]
    trace_id = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    (tree,) = build_tree(find_trace(tmp_path, trace_id))
    assert [(depth, span.name) for depth, span in tree.walk()] == [(0, "parent"), (1, "child")]
    assert len(list(Path(tmp_path).iterdir())) == 2


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP/HTTP collector that keeps what it gets."""
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


def test_with_a_collector_spans_go_there_and_not_to_files(collector, tmp_path):
    url, received = collector
    one = build_telemetry("svc", TelemetrySettings(otlp_endpoint=f"{url}/", traces_folder=tmp_path))
    with one.provider.get_tracer("t").start_as_current_span("work"):
        pass
    one.shutdown()
    (spans,) = received[0].resource_spans
    assert [attribute.value.string_value for attribute in spans.resource.attributes] == ["svc"]
    assert [span.name for span in spans.scope_spans[0].spans] == ["work"]
    assert list(tmp_path.iterdir()) == []
