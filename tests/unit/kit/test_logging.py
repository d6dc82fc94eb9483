import io
import json
import logging

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from toolorchestra.kit.logging import adopt_loggers, configure_logging, redact_text, redact_value
from toolorchestra.kit.settings import LogSettings


@pytest.fixture
def log_lines():
    """Configures logging and reads the lines written so far; puts the process's logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def configure(**settings):
        configure_logging(LogSettings(**settings), service="test", stream=stream)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_both_kinds_of_loggers_write_one_json_object_per_event(log_lines):
    read = log_lines()
    structlog.get_logger("ours").info("started", port=8080)
    logging.getLogger("theirs").warning("slow: %s ms", 12)
    ours, theirs = read()
    assert (ours["event"], ours["port"], ours["service"], ours["level"]) == ("started", 8080, "test", "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("slow: 12 ms", "theirs", "warning")


def test_events_below_the_level_are_left_out(log_lines):
    read = log_lines(level="warning")
    structlog.get_logger("ours").info("no")
    logging.getLogger("theirs").info("no")
    assert read() == []


def test_an_event_inside_a_span_carries_its_ids(log_lines):
    read = log_lines()
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("work") as span:
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = read()
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


def test_an_exception_is_logged_without_the_password_it_quotes(log_lines):
    read = log_lines()
    try:
        int("redis://:hunter2@localhost/0")
    except ValueError:
        structlog.get_logger().exception("down")
    (line,) = read()
    assert "ValueError" in line["exception"]
    assert "hunter2" not in json.dumps(line)


def test_logging_for_people_hides_secrets_too(log_lines):
    log_lines(format="console")
    stream = io.StringIO()
    configure_logging(LogSettings(format="console"), service="test", stream=stream)
    structlog.get_logger().info("login", password="hunter2", user="ada")
    assert "ada" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_loggers_of_a_server_are_led_into_our_format(log_lines):
    read = log_lines()
    server = logging.getLogger("some-server")
    server.addHandler(logging.NullHandler())
    server.propagate = False
    adopt_loggers("some-server")
    server.error("gone")
    assert [line["event"] for line in read()] == ["gone"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key to_9fK2abcd.s3cr3tS3cr3t used", "key to_9fK2abcd.*** used"),
        ("Authorization: Bearer abc1.def-ghi", "Authorization: Bearer ***"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("sk-proj-abcdefghijklmnop", "sk-***"),
        ("postgresql://app:hunter2@db:5432/x?a=b", "postgresql://app:***@db:5432/x?a=b"),
        ("redis://:hunter2@h:1/0 and redis://h:1/0", "redis://:***@h:1/0 and redis://h:1/0"),
    ],
)
def test_credentials_in_texts_are_hidden(text, shown):
    assert redact_text(text) == shown


@pytest.mark.parametrize("text", ["basic questions", "http://host:8080/path", "to_be or not", "skill-based", "12:30"])
def test_ordinary_texts_stay_as_they_are(text):
    assert redact_text(text) == text


def test_values_are_hidden_by_their_key_however_deep():
    value = {"headers": {"Authorization": "x", "Accept": "json"}, "list": [{"apiKey": "x", "api-key": "x"}], "n": 1}
    shown = redact_value(value)
    assert shown == {
        "headers": {"Authorization": "***", "Accept": "json"},
        "list": [{"apiKey": "***", "api-key": "***"}],
        "n": 1,
    }


def test_counts_of_tokens_are_no_secrets():
    assert redact_value({"input_tokens": 5, "max_tokens": 7}) == {"input_tokens": 5, "max_tokens": 7}
