"""What a reader must know of a plan before any figure: what is left out, and who is judged on what it learnt from."""

from collections import defaultdict
from collections.abc import Iterator

from toolorchestra.training.evaluate.plan import REAL, is_simulated, needs_experts
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.training.evaluate.training import LEAST, TEXT_ROUTERS, lesson_of, opening_of, training_set


def notes_on(staged: Staged) -> tuple[str, ...]:
    """Notes for the report. Raises what reading the training tasks raises."""
    return (*_left_out(staged), *_in_vain(staged), *_strange(staged), *_learnt(staged))


def _left_out(staged: Staged) -> Iterator[str]:
    """What stands in the files and cannot be played."""
    found = [(label, count, reason) for label, counts in staged.left_out.items() for reason, count in counts.items()]
    if parts := [f"{label}: {count} tasks, {reason}" for label, count, reason in found]:
        yield f"Left out: {'; '.join(parts)}."


def _in_vain(staged: Staged) -> Iterator[str]:
    """Tags that a suite asks for in vain, for example by a slip: others of its tags gave it tasks."""
    for suite in staged.plan.suites:
        tags = {tag for one in staged.subjects if one.suite == suite.label for tag in getattr(one.source, "split", ())}
        if missing := [tag for tag in getattr(suite, "split", ()) if tag not in tags]:
            yield f"In vain: no task of {suite.label} has the tag {' or '.join(missing)}."


def _strange(staged: Staged) -> Iterator[str]:
    """Suites that simulated experts know nothing of: a share of right answers would measure that, and no policy."""
    plan = staged.plan
    suites = ", ".join(suite.label for suite in plan.suites if not is_simulated(suite))
    if suites and (policies := list(filter(needs_experts, plan.policies))):
        yield f"Not simulated here: simulated experts know nothing of {suites}, so {', '.join(policies)} did not play it."
    if suites and plan.cast.offered and (managers := [name for name in plan.policies if name.startswith(REAL)]):
        yield (
            f"Simulated experts know nothing of {suites} and were offered to {', '.join(managers)} all the same; "
            "cast.offered: false leaves them out."
        )


def _learnt(staged: Staged) -> Iterator[str]:
    """How many of the judged tasks a text-only router learnt from: on those it need not have understood anything."""
    routers = [name for name in staged.plan.policies if name in TEXT_ROUTERS]
    learned = training_set(staged.plan) if routers else []
    if learned and len(learned) < LEAST:
        names = " and ".join(routers)
        yield f"{names} learnt nothing: training holds {len(learned)} requests, and fewer than {LEAST} teach nothing."
        return
    judged = {(one.suite, one.id): (one.id, one.opening) for one in staged.subjects if one.is_simulated}
    same: dict[int, list[str]] = defaultdict(list)
    for name in routers:
        lesson = {(task.id, opening_of(task)) for task in lesson_of(name, learned)}
        same[sum(task in lesson for task in judged.values())].append(name)
    for count, names_ in sorted(same.items()):
        if count:
            yield f"Judged on what was learnt: {' and '.join(names_)} learnt from {count} of these {len(judged)} tasks."
