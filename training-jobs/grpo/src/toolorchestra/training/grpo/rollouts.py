"""Plays episodes side by side through the platform's own loop; the policy is asked for many turns at once.

An episode waits for its tools alone: what others do meanwhile costs it nothing. On a virtual clock nobody waits at all, and
the order of everything follows from the seed (lockstep); on the real clock the policy is asked when all that are left have
spoken, or after a short while.
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from toolorchestra.core.chat import ChatModels, ChatReply, ChatRequest, CompletionReply, CompletionRequest
from toolorchestra.core.loop.state import State
from toolorchestra.core.policyformat import beginning
from toolorchestra.core.pricing import Usage
from toolorchestra.core.rewards.episodes import Rollout, rollout_of
from toolorchestra.training.grpo.policies import PolicyBackend, PolicyUnavailableError, Turn, Written
from toolorchestra.training.grpo.scenes import Scene
from toolorchestra.training.grpo.tokens import Codec
from toolorchestra.training.grpo.trajectories import Trajectory
from toolorchestra.worlds.playing import play

GATHER_S: Final = 0.02  # how long turns that are ready wait for others
OWN_TOKEN_MS: Final = 20  # what a token of the policy takes on the virtual clock
BAD_FORMAT: Final = "bad format"


@dataclass(frozen=True, slots=True)
class Episode:
    """One played episode: what was written, how the run went, and what the rewards see of it."""

    scene: Scene
    trajectory: Trajectory
    state: State
    rollout: Rollout
    explored: str | None = None

    @property
    def first_call(self) -> str | None:
        """The function that its first turn called; None for none."""
        calls = self.state.turns[0].calls if self.state.turns else ()
        return next((call.intent.function for call in calls if call.intent.problem is None), None)


@dataclass(frozen=True, slots=True)
class Seat:
    """A scene to be played once, its first tool perhaps drawn. With a ``seed`` its turns follow from it."""

    scene: Scene
    explored: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """Plays seats with one policy."""

    backend: PolicyBackend
    codec: Codec
    own_token_ms: int = OWN_TOKEN_MS
    gather_s: float = GATHER_S

    async def play(self, seats: Sequence[Seat]) -> list[Episode]:
        """One episode per seat, in order. Raises what the policy raises when it cannot be asked."""
        table = _Table(self.backend, len(seats), self.gather_s)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(seat, table)) for seat in seats]
        if table.failure is not None:
            raise table.failure
        return [task.result() for task in tasks]

    async def _one(self, seat: Seat, table: "_Table") -> Episode:
        scene, trajectory = seat.scene, Trajectory(self.codec)
        opened = scene.opened.model_copy(update={"explored": seat.explored})
        models = _Policy(table, trajectory, self.own_token_ms, seat)
        try:
            ended = await play(scene.revision, opened, models=models, executor=scene.executor(), user=scene.user)
        finally:
            table.leave()
        outcome = scene.judge(ended.state)
        rollout = rollout_of([ended.state], outcome, format_ok=not _bad_format(ended.state))
        return Episode(scene, trajectory, ended.state, rollout, seat.explored)


@dataclass(slots=True)
class _Policy(ChatModels):
    """The manager model of one episode."""

    table: "_Table"
    trajectory: Trajectory
    own_token_ms: int
    seat: Seat

    @override
    async def chat(self, request: ChatRequest) -> ChatReply:
        raise PolicyUnavailableError("in training there is no closing answer by chat")

    @override
    async def complete(self, request: CompletionRequest) -> CompletionReply:
        prompt = request.prompt if isinstance(request.prompt, str) else self.trajectory.codec.decode(request.prompt)
        turn, explored = self.trajectory.turns, self.seat.explored
        ids = self.trajectory.show(prompt, begun=beginning(explored) if explored and turn == 0 else "")
        seed = None if self.seat.seed is None else zlib.crc32(f"{self.seat.seed}/{turn}".encode())
        written = await self.table.ask(Turn(ids, request.max_tokens, request.temperature, seed))
        text = self.trajectory.write(written.ids, written.logprobs)
        return CompletionReply(
            text=text,
            finish_reason="length" if self.trajectory.truncated else "stop",
            usage=Usage(len(ids), len(written.ids)),
            latency_ms=self.own_token_ms * len(written.ids),
        )


@dataclass(slots=True)
class _Table:
    """Gathers turns until everyone who still plays has spoken, then has them written together."""

    backend: PolicyBackend
    players: int
    gather_s: float
    waiting: list[tuple[Turn, asyncio.Future[Written]]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    failure: BaseException | None = None  # the loop takes it for a wrong answer of the manager, which it is not

    async def ask(self, turn: Turn) -> Written:
        """The turn, written. Raises the first failure of the policy, now and from then on."""
        if self.failure is not None:
            raise self.failure
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Written] = loop.create_future()
        self.waiting.append((turn, answer))
        if self.timer is None:
            self.timer = loop.call_later(self.gather_s, self._serve)
        self._perhaps()
        try:
            return await answer
        except asyncio.CancelledError:
            told = "a turn was not written within the time that a run may take"
            self._fail(PolicyUnavailableError(told, hint="play fewer episodes a step"))
            raise

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error

    def leave(self) -> None:
        """One player less to wait for."""
        self.players -= 1
        self._perhaps()

    def _perhaps(self) -> None:
        if self.waiting and len(self.waiting) >= self.players:
            self._serve()

    def _serve(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.waiting and (self.backend.overlapping or not self.serving):
            batch, self.waiting = self.waiting, []
            task = asyncio.get_running_loop().create_task(self._write(batch))
            self.serving.add(task)
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self.serving.discard(task)
        if not self.backend.overlapping:
            self._serve()  # what has gathered meanwhile

    async def _write(self, batch: Sequence[tuple[Turn, asyncio.Future[Written]]]) -> None:
        try:
            found = await self.backend.write([turn for turn, _ in batch])
        except BaseException as error:  # noqa: BLE001 - whoever asked is told, whatever it was
            self._fail(error)
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), written in zip(batch, found, strict=True):
            if not answer.done():
                answer.set_result(written)


def _bad_format(state: State) -> bool:
    return any(turn.decided is not None and turn.decided.decision.reason == BAD_FORMAT for turn in state.turns)
