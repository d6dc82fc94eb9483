"""Counts what must not be among kept tasks: those that pass for somebody who does not solve them.

It plays each kept task again, from the files as they were written, apart from the verification that kept it. Of the last 20
published tasks per domain 143 of 200 have no write, so that the end state is right for who does nothing, and in 137 the text to
communicate stands in the user's own words (arXiv 2511.21689, counted in its public data).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from toolorchestra.worlds.answers import dump, tell
from toolorchestra.worlds.check import judge
from toolorchestra.worlds.session import Call, Session
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.values import Kind, scan
from toolorchestra.worlds.verify import is_weak
from toolorchestra.worlds.world import World


@dataclass(frozen=True, slots=True)
class Audit:
    """Kept tasks that are unsound, by how.

    ``leaky``: the user's own text says a fact; ``no_op``: it passes without any call, whatever is answered; ``echo``: with the
    user's text for an answer; ``dump``: with all results for an answer; ``guessable``: its only facts are guessed easily;
    ``golden_fails``: the reference solution does not pass.
    """

    leaky: int = 0
    no_op: int = 0
    echo: int = 0
    dump: int = 0
    guessable: int = 0
    golden_fails: int = 0

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def audit(world: World, tasks: Iterable[Task]) -> Audit:
    """Play the tasks of a world for those who do not solve them, and count."""
    counts = dict.fromkeys(asdict(Audit()), 0)
    for task in tasks:
        for fault in faults(world, task):
            counts[fault] += 1
    return Audit(**counts)


def faults(world: World, task: Task) -> Iterator[str]:
    """Names of the counts of ``Audit`` that a task belongs to."""
    answer, said = tell(task.facts, currency=world.spec.currency), scan(task.user.text, world.spec.clock.year)
    idle, looked, done = (Session.replay(world, calls) for calls in _efforts(world, task))
    echoes = (task.user.opening, task.user.text)
    if any(fact.kind is not Kind.YESNO and said.says(fact.kind, fact.value) for fact in task.facts):
        yield "leaky"
    if _passes(task, [idle], ("", answer, *echoes)):
        yield "no_op"
    if _passes(task, [looked, done] if task.facts else [looked], echoes):
        yield "echo"
    if any(_passes(task, [session], (dump(session.results),)) for session in ((looked, done) if task.facts else (looked,))):
        yield "dump"
    if task.facts and all(map(is_weak, task.facts)):
        yield "guessable"
    if not judge(task, done, answer).success:
        yield "golden_fails"


def _efforts(world: World, task: Task) -> tuple[Sequence[Call], Sequence[Call], Sequence[Call]]:
    """What somebody calls who does nothing, who only looks, and who does all."""
    return (), [call for call in task.calls if not world.tools[call.tool].writes], task.calls


def _passes(task: Task, sessions: Iterable[Session], answers: Sequence[str]) -> bool:
    return any(judge(task, session, answer).success for session in sessions for answer in answers)
