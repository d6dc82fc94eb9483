"""What a worker reads, and what it makes of it for Celery."""

from pathlib import Path

import pytest

from toolorchestra.cli.platform.options import UpOptions
from toolorchestra.cli.platform.services import Backing, service_environment
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.worker.celery import create_celery
from toolorchestra.worker.settings import WorkerClass, WorkerSettings

URLS = {"database_url": "postgresql://db/x", "broker_url": "redis://:pa55word@broker:6379/0"}


def settings(**values: object) -> WorkerSettings:
    return WorkerSettings.load(**{**URLS, **values})


def test_missing_urls_are_named(monkeypatch):
    monkeypatch.delenv("TOOLORCHESTRA_DATABASE_URL", raising=False)

    with pytest.raises(InvalidRequestError, match="TOOLORCHESTRA_DATABASE_URL"):
        WorkerSettings.load(broker_url="redis://broker")


def test_a_misspelt_variable_is_refused(monkeypatch):
    monkeypatch.setenv("TOOLORCHESTRA_WORKER_CLAS", "sandbox")

    with pytest.raises(InvalidRequestError, match="WORKER_CLASS"):
        settings()


def test_an_unknown_class_is_refused():
    with pytest.raises(InvalidRequestError, match=r"WORKER_CLASS.*calls"):
        settings(worker_class="both")


def test_the_platforms_environment_is_understood(monkeypatch, tmp_path: Path):
    backing = Backing("postgresql://db/x", "redis://broker", "redis://signals", opened=("127.0.0.1:9",))
    for name, value in service_environment(UpOptions(state=tmp_path), backing).items():
        monkeypatch.setenv(name, value)

    read = WorkerSettings.load()

    assert (read.worker_class, read.egress_allow) == (WorkerClass.CALLS, ("127.0.0.1:9",))
    assert all(folder.is_absolute() for folder in read.manifests)


def test_secrets_do_not_show():
    assert "pa55word" not in repr(settings())


@pytest.mark.parametrize(("worker_class", "queue"), [("calls", "toolorchestra.calls"), ("sandbox", "toolorchestra.sandbox")])
def test_each_class_has_its_queue(worker_class: str, queue: str):
    assert settings(worker_class=worker_class).worker_class.queue == queue


def test_a_sandbox_worker_takes_few_calls_at_once_and_another_many():
    assert 2 <= settings(worker_class="sandbox").calls_at_once <= 8
    assert settings().calls_at_once == 64
    assert settings(concurrency=3).calls_at_once == 3


def test_messages_are_json_late_acknowledged_and_leave_no_result():
    conf = create_celery(settings()).conf

    assert (conf.accept_content, conf.task_serializer, conf.result_backend) == (["json"], "json", None)
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.task_ignore_result) == (True, True, True)
    assert (conf.worker_prefetch_multiplier, conf.worker_enable_remote_control) == (1, False)


def test_all_three_visibility_timeouts_agree():
    conf = create_celery(settings(call_limit_s=77)).conf

    options = (conf.broker_transport_options, conf.result_backend_transport_options)
    assert [one["visibility_timeout"] for one in options] == [77, 77]
    assert (conf["visibility_timeout"], conf.task_time_limit) == (77, 77)


def test_a_lost_broker_is_waited_for_without_end():
    conf = create_celery(settings()).conf

    assert (conf.broker_connection_retry, conf.broker_connection_retry_on_startup) == (True, True)
    assert conf.broker_connection_max_retries is None
    assert conf.broker_transport_options["socket_timeout"] > 1  # longer than a blocking read


@pytest.mark.parametrize("url", ["amqp://rabbit", "amqps://rabbit", "pyamqp://rabbit"])
def test_rabbitmq_confirms_what_is_published(url: str):
    assert create_celery(settings(broker_url=url)).conf.broker_transport_options == {"confirm_publish": True}


@pytest.mark.parametrize("url", ["nonsense://broker", "no url at all"])
def test_a_url_of_no_broker_is_refused(url: str):
    with pytest.raises(InvalidRequestError, match="TOOLORCHESTRA_BROKER_URL"):
        create_celery(settings(broker_url=url))


def test_only_the_sandbox_has_one_child_per_call():
    assert create_celery(settings(worker_class="sandbox")).conf.worker_max_tasks_per_child == 1
    assert create_celery(settings()).conf.worker_max_tasks_per_child is None


def test_manifests_are_refused_beside_a_cluster(tmp_path: Path):
    with pytest.raises(InvalidRequestError, match="remove TOOLORCHESTRA_MANIFESTS"):
        settings(registry="cluster", manifests=(tmp_path,))
