"""The Celery application: what every setting is for, since most defaults are wrong for calls that cost money.

The broker carries call ids and nothing else. What became of a call stands in the database, so no result is ever kept,
messages are acknowledged late, and a message delivered twice finds its call already taken.
"""

from collections.abc import Mapping
from typing import Any, Final

from celery import Celery

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.worker.settings import WorkerClass, WorkerSettings

POOLS: Final[Mapping[WorkerClass, str]] = {WorkerClass.CALLS: "threads", WorkerClass.SANDBOX: "prefork"}

_REAP_S: Final = 0.05
_SOCKET_S: Final = 10.0  # a broker that is silent for so long is connected to anew
_REDIS_SCHEMES: Final = ("redis", "rediss", "sentinel")
_AMQP_SCHEMES: Final = ("amqp", "amqps", "pyamqp")


def create_celery(settings: WorkerSettings) -> Celery:
    """The application of one worker; tasks are registered by ``tasks``. Raises InvalidRequestError for a URL of no broker."""
    url = settings.broker_url.get_secret_value()
    app = Celery("toolorchestra", broker=url, set_as_current=False)
    app.conf.update(_messages(settings), **_connection(url, settings), **_process(settings))
    _check_broker(app, url)
    return app


def _check_broker(app: Celery, url: str) -> None:
    scheme, mark, _ = url.partition("://")
    reason = None if mark else "it is no URL"
    try:
        app.connection_for_read().get_transport_cls()
    except (KeyError, ImportError) as error:
        reason = reason or f"there is no transport for {scheme!r} ({error})"
    if reason is not None:
        raise InvalidRequestError(
            f"TOOLORCHESTRA_BROKER_URL names no broker: {reason}", param="broker_url", hint="write redis://… or amqp://…"
        )


def replace_children_soon(consumer: Any) -> None:
    """Look for ended children often; ``consumer`` is Celery's.

    A child's pipes close a moment before it can be waited for, so the one look that their closing causes comes too early, and
    the next would come after five seconds. With one child per call that is the time between calls.
    """
    consumer.timer.call_repeatedly(_REAP_S, consumer.pool.maintain_pool)


def _messages(settings: WorkerSettings) -> dict[str, Any]:
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,  # the lease, not the broker, decides when the call may be taken again
        "task_time_limit": settings.call_limit_s,  # for a child that no deadline reaches, e.g. stuck in foreign code
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,  # whoever reaches the broker must not command workers
    }


def _connection(url: str, settings: WorkerSettings) -> dict[str, Any]:
    options = _transport_options(url, settings.call_limit_s)
    visible = {"visibility_timeout": settings.call_limit_s}  # the shortest of all applications on a broker counts
    return {
        "broker_transport_options": options,
        "result_backend_transport_options": visible,
        **visible,
        "broker_heartbeat": 10,
        "broker_connection_timeout": 5,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        # A lost connection takes nothing from a running call: its outcome goes to the database.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Reducing the prefetch after a reconnect has more than once left workers that take nothing any more.
        "worker_enable_prefetch_count_reduction": False,
    }


def _process(settings: WorkerSettings) -> dict[str, Any]:
    sandbox = settings.worker_class is WorkerClass.SANDBOX
    return {
        "worker_max_tasks_per_child": 1 if sandbox else None,
        "worker_proc_alive_timeout": 60.0,  # a child of a busy machine may start slowly
        "worker_soft_shutdown_timeout": settings.drain_ms / 1_000,  # of SIGQUIT; SIGTERM drains by itself
        "worker_enable_soft_shutdown_on_idle": not sandbox,  # Celery knows nothing of calls that go straight to the loop
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def _transport_options(url: str, visibility_s: int) -> dict[str, Any]:
    scheme = url.partition("://")[0].partition("+")[0].lower()
    if scheme in _REDIS_SCHEMES:
        return {
            "visibility_timeout": visibility_s,
            "ack_emulation": False,  # two more round trips per call, for a message that its run's owner sends again anyway
            "socket_timeout": _SOCKET_S,
            "socket_connect_timeout": _SOCKET_S / 2,
            "socket_keepalive": True,
            "health_check_interval": int(_SOCKET_S),
        }
    if scheme in _AMQP_SCHEMES:
        return {"confirm_publish": True}
    return {"visibility_timeout": visibility_s} if scheme == "sqs" else {}
