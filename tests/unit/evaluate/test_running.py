"""What is recorded stays, what is missing is played, and where it stops is written down."""

import asyncio
import json
from signal import SIGINT, SIGTERM, getsignal, raise_signal

import pytest

from toolorchestra.core.errors import ConflictError, UnavailableError
from toolorchestra.training.evaluate.errors import InvalidPlanError, MissingBenchmarkError
from toolorchestra.training.evaluate.evaluating import RECORDS_NAME, Evaluation
from toolorchestra.training.evaluate.output import HTML_NAME, JSON_NAME, PICTURE_NAME
from toolorchestra.training.evaluate.plan import Limits
from toolorchestra.training.evaluate.records import ErrorKind, RecordFile, read_records
from toolorchestra.training.evaluate.running import Job, Runner
from toolorchestra.training.evaluate.testing import an_episode
from toolorchestra.worlds.errors import InvalidWorldError

JOBS = [Job(number, f"key-{number}", "worlds", "main") for number in range(10)]


class Playing:
    """Plays jobs; each costs a dollar. ``fails`` are numbers that fail through their environment, ``dies`` one that raises."""

    def __init__(self, *, fails=(), dies=None, batch=1, width=1):
        self.fails, self.dies, self.batch, self.width = set(fails), dies, batch, width
        self.played, self.batches = [], []

    async def play(self, jobs):
        self.batches.append(len(jobs))
        await asyncio.sleep(0)
        for job in jobs:
            if job.number == self.dies:
                raise UnavailableError("the player is gone")
            self.played.append(job.number)
        return [self._episode(job) for job in jobs]

    def _episode(self, job):
        error = {"error": ErrorKind.ENVIRONMENT, "success": False, "error_message": "boom"} if job.number in self.fails else {}
        return an_episode(key=job.key, task=f"t{job.number}", policy=job.policy, cost_nano_usd=1_000_000_000, **error)


def run(path, player, *, limits=None, clock=lambda: 0.0, jobs=JOBS):
    with RecordFile(path) as file:
        return asyncio.run(Runner(player, limits or Limits(parallel=1), clock=clock).run(jobs, file))


def test_all_is_played_once_and_never_again(tmp_path):
    player = Playing()
    first = run(tmp_path / "a.jsonl", player)
    again = run(tmp_path / "a.jsonl", player)
    assert player.played == list(range(10))
    assert (len(first.episodes), first.stopped) == (10, None)
    assert (again.episodes, again.stopped) == (first.episodes, None)


def test_a_budget_stops_it_half_way_and_holds_over_all_starts(tmp_path):
    player, limits = Playing(), Limits(cost_usd="4", parallel=1)
    stopped = run(tmp_path / "a.jsonl", player, limits=limits).stopped
    assert (stopped.done, stopped.planned, stopped.reason) == (4, 10, "the budget of 4.00 USD is spent")
    assert run(tmp_path / "a.jsonl", player, limits=limits).stopped.done == 4
    assert run(tmp_path / "a.jsonl", player).stopped is None
    assert player.played == list(range(10))


def test_time_that_is_up_stops_it(tmp_path):
    ticks = iter(range(0, 1_000, 20))
    stopped = run(
        tmp_path / "a.jsonl", Playing(), limits=Limits(minutes=1, parallel=1), clock=lambda: float(next(ticks))
    ).stopped
    assert 0 < stopped.done < 10
    assert stopped.reason == "the time of 1 minutes is up"


def test_failures_in_a_row_stop_it_and_single_ones_do_not(tmp_path):
    assert run(tmp_path / "a.jsonl", Playing(fails=(1, 3, 5, 7)), limits=Limits(failures=3)).stopped is None
    stopped = run(tmp_path / "b.jsonl", Playing(fails=range(2, 10)), limits=Limits(failures=3)).stopped
    assert (stopped.done, stopped.reason) == (5, "3 episodes of main in a row failed through their environment: boom")


def test_failures_in_a_row_are_counted_by_policy_and_who_is_not_heard_of_is_named(tmp_path):
    jobs = [Job(number, f"key-{number}", "worlds", ("golden", "strongest")[number % 2]) for number in range(40)]
    stopped = run(tmp_path / "a.jsonl", Playing(fails=range(1, 40, 2)), limits=Limits(failures=3), jobs=jobs).stopped
    reason = "3 episodes of strongest in a row failed through their environment: boom; no episode of strongest counts"
    assert (stopped.done, stopped.reason) == (6, reason)


def test_what_failed_through_its_environment_is_played_again_and_its_money_still_counts(tmp_path):
    path, mended = tmp_path / "a.jsonl", Playing()
    stopped = run(path, Playing(fails=range(10)), limits=Limits(failures=30)).stopped
    assert (stopped.done, stopped.reason) == (10, "no episode of main counts; the newest failure: boom")
    assert run(path, mended, limits=Limits(cost_usd="13", parallel=1)).stopped.reason == "the budget of 13.00 USD is spent"
    found = run(path, mended)
    assert mended.played == list(range(10))
    assert (found.stopped, {one.error for one in found.episodes}) == (None, {None})
    assert read_records(path).spent_nano_usd == 20_000_000_000


def test_no_more_is_under_way_than_the_money_that_is_left_allows(tmp_path):
    stopped = run(tmp_path / "a.jsonl", Playing(batch=24, width=3), limits=Limits(cost_usd="4", parallel=3)).stopped
    assert (stopped.done, stopped.reason) == (4, "the budget of 4.00 USD is spent")


def test_with_enough_money_batches_are_as_large_as_without_a_limit(tmp_path):
    player = Playing(batch=24, width=2)
    jobs = [Job(number, f"key-{number}", "worlds", "main") for number in range(100)]
    run(tmp_path / "a.jsonl", player, limits=Limits(cost_usd="1000", parallel=2), jobs=jobs)
    assert player.batches == [1, 24, 24, 24, 24, 3]


@pytest.mark.parametrize("cost_usd", ["0.000001", "0"])
def test_a_budget_that_leaves_a_policy_out_gives_a_partial_report_that_names_it(a_plan, tmp_path, cost_usd):
    limits = {"parallel": 1, "cost_usd": cost_usd}
    report = {"resamples": 100, "policy": "lexical", "baseline": "strongest", "gate": {}}
    done = asyncio.run(Evaluation(a_plan(policies=["strongest", "lexical"], limits=limits, report=report), tmp_path).run())
    assert "lexical counts" in done.report.partial.reason
    assert not done.report.gate.passed
    assert "no episode of lexical counts" in done.report.gate.failures
    assert all(path.exists() for path in done.files)
    assert "lexical counts" in (tmp_path / HTML_NAME).read_text()


def test_fresh_leaves_the_records_of_an_evaluation_that_is_running(a_plan, tmp_path):
    asyncio.run(Evaluation(a_plan(), tmp_path).run())
    before = (tmp_path / RECORDS_NAME).read_bytes()
    with RecordFile(tmp_path / RECORDS_NAME), pytest.raises(ConflictError, match="in use by another evaluation"):
        asyncio.run(Evaluation(a_plan(), tmp_path, fresh=True).run())
    assert (tmp_path / RECORDS_NAME).read_bytes() == before


def test_what_breaks_off_is_told_plainly_and_gone_on_with(tmp_path):
    with pytest.raises(UnavailableError, match="the player is gone"):
        run(tmp_path / "a.jsonl", Playing(dies=6, width=2))
    kept = read_records(tmp_path / "a.jsonl")
    assert "the player is gone" in kept.stopped.reason
    player = Playing(batch=3, width=2)
    found = run(tmp_path / "a.jsonl", player)
    assert found.stopped is None
    assert len(player.played) == 10 - len(kept.episodes)


def test_records_of_another_plan_stay_and_are_left_out(tmp_path):
    run(tmp_path / "a.jsonl", Playing(), jobs=JOBS[:4])
    found = run(tmp_path / "a.jsonl", Playing(), jobs=JOBS[2:6])
    assert [episode.key for episode in found.episodes] == [job.key for job in JOBS[2:6]]
    assert len(read_records(tmp_path / "a.jsonl").episodes) == 6


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_interrupted_and_gone_on_with_it_is_the_report_of_running_through(a_plan, tmp_path, number):
    before = getsignal(number)
    plan = a_plan(policies=["golden", "strongest", "random"])
    through = asyncio.run(Evaluation(plan, tmp_path / "a").run())

    def interrupt(episode, done, planned):
        if done == planned // 2:
            raise_signal(number)  # as a person does; it takes hold at the next moment that waits

    stopped = asyncio.run(Evaluation(plan, tmp_path / "b", progress=interrupt).run())
    assert (stopped.told, getsignal(number)) == (number, before)
    assert stopped.report.partial.reason.startswith(f"it was told to stop ({number.name})")
    assert "Partial: it was told to stop" in (tmp_path / "b" / HTML_NAME).read_text()
    half = read_records(tmp_path / "b" / RECORDS_NAME)
    planned = 3 * through.report.policies[0].tasks
    assert planned // 2 <= half.stopped.done == len(half.episodes) < planned
    resumed = asyncio.run(Evaluation(plan, tmp_path / "b").run())
    assert resumed.report == through.report
    assert (tmp_path / "a" / JSON_NAME).read_bytes() == (tmp_path / "b" / JSON_NAME).read_bytes()


def test_a_plan_that_spends_too_much_leaves_a_partial_report_that_says_so(a_plan, tmp_path):
    fields = {"policies": ["golden", "strongest"], "limits": {"parallel": 1, "cost_usd": "0.05"}}
    done = asyncio.run(Evaluation(a_plan(**fields), tmp_path).run())
    report = json.loads((tmp_path / JSON_NAME).read_text())
    assert 0 < done.report.partial.done < 12
    assert report["partial"]["reason"] == "the budget of 0.05 USD is spent"
    assert any(note.startswith("Partial: ") for note in report["notes"])
    assert (tmp_path / PICTURE_NAME).read_text().startswith("<svg xmlns=")


def test_a_changed_world_is_played_anew_and_the_same_one_is_not(a_plan, material, tmp_path):
    heard = []
    asyncio.run(Evaluation(a_plan(), tmp_path, progress=lambda *told: heard.append(told)).run())
    asyncio.run(Evaluation(a_plan(), tmp_path, progress=lambda *told: heard.append(told)).run())
    assert len(heard) == 18
    asyncio.run(Evaluation(a_plan(), tmp_path, fresh=True, progress=lambda *told: heard.append(told)).run())
    assert len(heard) == 36
    policy = material / "railway" / "policy.md"
    before = policy.read_text()
    try:
        policy.write_text(before + "\nBe kind.\n")
        asyncio.run(Evaluation(a_plan(), tmp_path, progress=lambda *told: heard.append(told)).run())
    finally:
        policy.write_text(before)
    assert len(heard) == 54


@pytest.mark.parametrize(
    ("suite", "error", "told"),
    [
        ({"kind": "worlds", "folders": ["nowhere"]}, InvalidWorldError, "suite worlds: .*nowhere"),
        ({"kind": "qa", "file": "none.jsonl"}, InvalidWorldError, "suite qa: .*cannot be read"),
        ({"kind": "hle", "file": "none.jsonl"}, MissingBenchmarkError, "suite hle: HLE: there is no file"),
        (
            {"kind": "worlds", "folders": ["railway"], "split": ["heldout-moon"]},
            InvalidPlanError,
            "one of the tags heldout-moon",
        ),
    ],
)
def test_data_that_is_missing_is_named_before_anything_is_played(a_plan, tmp_path, suite, error, told):
    with pytest.raises(error, match=told):
        asyncio.run(Evaluation(a_plan(suites=[suite], policies=["golden"]), tmp_path / "out").run())
    assert not (tmp_path / "out").exists()


def test_policies_of_a_platform_are_refused_without_one(a_plan, tmp_path):
    with pytest.raises(InvalidPlanError, match="are played by a platform"):
        asyncio.run(Evaluation(a_plan(policies=["golden", "prompted:qwen"]), tmp_path).run())


def test_free_answers_need_a_judge(a_plan, tmp_path):
    path = tmp_path / "frames.jsonl"
    path.write_text(json.dumps({"id": 1, "question": "Who?", "answer": "Ada"}) + "\n")
    plan = a_plan(suites=[{"kind": "frames", "file": str(path)}], policies=["golden"])
    with pytest.raises(InvalidPlanError, match="graded by a model, and the plan names none"):
        asyncio.run(Evaluation(plan, tmp_path).run())


def test_questions_of_ones_own_are_graded_by_the_named_grader(a_plan, tmp_path):
    path = tmp_path / "mine.jsonl"
    lines = [{"id": n, "question": f"What is {n} plus 1?", "answer": str(n + 1), "topic": "sums"} for n in range(4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    suites = [{"kind": "user", "file": str(path), "grader": "numeric", "name": "mine"}]
    asyncio.run(Evaluation(a_plan(suites=suites, policies=["golden", "nothing"]), tmp_path).run())
    found = read_records(tmp_path / RECORDS_NAME).episodes
    assert {(one.policy, one.success) for one in found} == {("golden", True), ("nothing", False)}
    assert {(one.suite, one.topic) for one in found} == {("mine", "sums")}
