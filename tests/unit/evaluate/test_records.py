"""Records survive what processes do: torn lines, second starts, two writers; broken ones are named by file and line."""

import json

import pytest

from toolorchestra.core.errors import ConflictError
from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.training.evaluate.errors import InvalidRecordsError
from toolorchestra.training.evaluate.records import Ceiling, ErrorKind, Expert, RecordFile, episode_key, read_records
from toolorchestra.training.evaluate.testing import an_episode

FULL = an_episode(
    calls={"ask": 2}, experts={"ask": Expert(strongest=True)}, preference=Weights(), ceiling=Ceiling(cost_nano_usd=1, latency_ms=2),
    error=ErrorKind.TIMEOUT, run_id="r1", answer_digest="00",
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "records.jsonl"


def test_what_is_written_is_read(path):
    with RecordFile(path) as records:
        records.append(FULL)
        records.append(an_episode(task="t1"))
    assert read_records(path).episodes == (FULL, an_episode(task="t1"))


def test_a_second_start_does_only_what_is_missing(path):
    with RecordFile(path) as records:
        records.append(FULL)
    with RecordFile(path) as records:
        assert FULL.key in records
        assert an_episode(task="t1").key not in records
        records.append(FULL)
        records.append(an_episode(task="t1"))
        assert len(records.episodes) == 2
    assert len(path.read_text().splitlines()) == 2


def test_a_torn_last_line_is_cut_off_and_done_again(path):
    with RecordFile(path) as records:
        records.append(FULL)
        records.append(an_episode(task="t1"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert read_records(path).torn > 0
    with RecordFile(path) as records:
        assert records.episodes == (FULL,)
        records.append(an_episode(task="t1"))
    assert path.read_bytes() == whole


def test_every_way_to_tear_the_last_line_can_be_resumed(path):
    with RecordFile(path) as records:
        records.append(an_episode(task="t0"))
        first = path.stat().st_size
        records.append(an_episode(task="t1"))
    whole = path.read_bytes()
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        with RecordFile(path) as records:
            records.append(an_episode(task="t1"))
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", "Invalid JSON"),
        ('{"kind": "episode", "suite": "x"}', "key: required"),
        ('{"kind": "other"}', "no 'kind' is 'other'; write one of 'episode'"),
        (json.dumps({"kind": "episode"} | FULL.model_dump(mode="json") | {"cost_nano_usd": -1}), "cost_nano_usd"),
        (json.dumps({"kind": "episode"} | FULL.model_dump(mode="json") | {"sucess": True}), "sucess: unknown field"),
        ("", "Invalid JSON"),
    ],
)
def test_a_broken_line_is_named_by_file_and_line(path, line, said):
    with RecordFile(path) as records:
        records.append(FULL)
    path.write_text(f"{path.read_text()}{line}\n{path.read_text()}")
    with pytest.raises(InvalidRecordsError) as caught, RecordFile(path):
        pass
    assert f"{path}, line 2: " in str(caught.value)
    assert said in str(caught.value)
    with pytest.raises(InvalidRecordsError):
        read_records(path)


def test_an_early_end_is_marked_until_a_later_start_finishes(path):
    with RecordFile(path) as records:
        records.append(FULL)
        records.stop("the budget of 1.00 USD is spent", planned=2)
    stopped = read_records(path).stopped
    assert (stopped.reason, stopped.done, stopped.planned) == ("the budget of 1.00 USD is spent", 1, 2)
    with RecordFile(path) as records:
        records.append(an_episode(task="t1"))
        records.finish(planned=2)
    assert read_records(path).stopped is None
    assert read_records(path).spent_nano_usd == 2_000_000


def test_two_writers_do_not_share_a_file(path):
    with RecordFile(path), pytest.raises(ConflictError, match="in use by another evaluation"), RecordFile(path):
        pass


def test_nothing_is_written_once_closed(path):
    with RecordFile(path) as records:
        pass
    with pytest.raises(ConflictError, match="not open"):
        records.append(FULL)


def test_a_missing_file_holds_nothing(path):
    assert read_records(path).episodes == ()


def test_a_key_follows_from_the_content_alone():
    key = episode_key({"id": "t", "text": "é"}, {"name": "p"}, {"seed": 1})
    assert key == episode_key({"text": "é", "id": "t"}, {"name": "p"}, {"seed": 1})
    others = [({"id": "t", "text": "e"}, {"name": "p"}, {"seed": 1}), ({"id": "t", "text": "é"}, {"name": "p"}, {"seed": 2})]
    assert key not in {episode_key(*other) for other in others}
