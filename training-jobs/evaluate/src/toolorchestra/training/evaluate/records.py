"""What an evaluation remembers: one record per episode, appended to a file as soon as it is known.

A record's key is a digest of the task, the policy and the settings, so that a second start does only what is missing and a
changed task or prompt is evaluated anew. What failed through its environment is played again, and the newer record counts. A
process may die at any moment: a torn last line is cut off and done again.
"""

import fcntl
import json
import os
from collections.abc import Container, Mapping
from enum import StrEnum
from hashlib import blake2b
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError

from toolorchestra.core.errors import ConflictError
from toolorchestra.core.functions import Frozen
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.training.evaluate.errors import InvalidRecordsError, problems_of

KEY_BYTES: Final = 16


class ErrorKind(StrEnum):
    """Why an episode gave no answer. Only ``environment`` is not the policy's doing, and is left out of all rates."""

    ENVIRONMENT = "environment"
    TIMEOUT = "timeout"
    BUDGET = "budget"
    NO_ANSWER = "no_answer"
    BAD_FORMAT = "bad_format"


class Expert(Frozen):
    """What an expert is in this episode: names may be redrawn per episode, the flag goes with the name."""

    strongest: bool = Field(default=False, description="No expert offered here is stronger.")


class Ceiling(Frozen):
    """What always asking the strongest would take on this task at this task's prices; computed, never observed."""

    cost_nano_usd: NonNegativeInt
    latency_ms: NonNegativeInt


class Episode(Frozen):
    """One attempt of one policy at one task. Money in nano-USD, times in ms; ``calls`` counts by the tool's own name."""

    kind: Literal["episode"] = "episode"
    key: str = Field(min_length=1, description="Digest of task, policy and settings; see `episode_key`.")
    suite: str = Field(min_length=1)
    task: str = Field(min_length=1)
    cluster: str = Field(min_length=1, description="What tasks share: the intent, or the document.")
    topic: str = Field(default="", description="For the table by topic; empty: none.")
    policy: str = Field(min_length=1)
    seed: int = 0
    repeat: NonNegativeInt = 0
    success: bool
    cost_nano_usd: NonNegativeInt = 0
    latency_ms: NonNegativeInt = 0
    turns: NonNegativeInt = 0
    input_tokens: NonNegativeInt = Field(default=0, description="Of all models, as they told; estimated by simulated ones.")
    output_tokens: NonNegativeInt = 0
    calls: dict[str, NonNegativeInt] = Field(default_factory=dict)
    offered: tuple[str, ...] = Field(default=(), description="All functions that stood in the prompt.")
    experts: dict[str, Expert] = Field(default_factory=dict, description="Flags of the experts that were offered, by name.")
    preference: Weights | None = Field(default=None, description="The weights to score by; null: none was stated.")
    ceiling: Ceiling | None = Field(default=None, description="C* and L*; needed where cost or latency has a weight.")
    simulated: bool = Field(default=False, description="An expert or the user was simulated.")
    error: ErrorKind | None = None
    error_message: str = Field(default="", max_length=1_000)
    run_id: str | None = Field(default=None, description="For the link to the run.")
    answer_digest: str = Field(default="", description="Says whether two answers are the same without keeping them.")

    @property
    def counts(self) -> bool:
        """Whether the episode says something about the policy."""
        return self.error is not ErrorKind.ENVIRONMENT


class Stopped(Frozen):
    """The evaluation ended before all was done; what is recorded is kept and every report says that it is partial."""

    kind: Literal["stopped"] = "stopped"
    reason: str = Field(min_length=1, description="E.g. `the budget of 5.00 USD is spent`.")
    done: NonNegativeInt
    planned: NonNegativeInt


class Finished(Frozen):
    """All that was planned is recorded."""

    kind: Literal["finished"] = "finished"
    planned: NonNegativeInt


Line: TypeAlias = Annotated[Episode | Stopped | Finished, Field(discriminator="kind")]
_LINE: Final[TypeAdapter[Line]] = TypeAdapter(Line)


def episode_key(task: Mapping[str, Any], policy: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """128 bits over the whole content (JSON values) of task, policy and settings; seed and repeat are settings."""
    content = json.dumps([task, policy, settings], sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return blake2b(content.encode(), digest_size=KEY_BYTES).hexdigest()


def answer_digest(answer: str) -> str:
    """128 bits over an answer."""
    return blake2b(answer.encode(errors="surrogatepass"), digest_size=KEY_BYTES).hexdigest()


class Recorded(Frozen):
    """The content of a file of records. ``stopped``: the last attempt did not finish. ``torn``: bytes of a torn last line.

    ``replaced`` are failures of the environment that were played again: they took money and say nothing else.
    """

    episodes: tuple[Episode, ...] = ()
    stopped: Stopped | None = None
    torn: int = 0
    replaced: tuple[Episode, ...] = ()

    @property
    def spent_nano_usd(self) -> NanoUsd:
        return sum(episode.cost_nano_usd for episode in (*self.episodes, *self.replaced))


def read_records(path: Path) -> Recorded:
    """Read a file; a missing one holds nothing. Of equal keys the first counts that did not fail through its environment.

    Raises InvalidRecordsError for a line that is no record, unless it is the last one and has no line end.
    """
    if not path.exists():
        return Recorded()
    *lines, tail = path.read_bytes().split(b"\n")
    episodes: dict[str, Episode] = {}
    replaced: list[Episode] = []
    stopped: Stopped | None = None
    for number, text in enumerate(lines, start=1):
        match _parse(path, number, text):
            case Episode() as episode:
                _keep(episode, episodes, replaced)
            case Stopped() as stopped:
                pass
            case Finished():
                stopped = None
    return Recorded(episodes=tuple(episodes.values()), stopped=stopped, torn=len(tail), replaced=tuple(replaced))


def _keep(episode: Episode, known: dict[str, Episode], replaced: list[Episode]) -> bool:
    """Whether a record is kept: it is the first of its key, or those before failed through their environment."""
    before = known.get(episode.key)
    if before is not None:
        if before.counts:
            return False
        replaced.append(known.pop(episode.key))  # so that the newest record stands last
    known[episode.key] = episode
    return True


def _parse(path: Path, number: int, text: bytes) -> Episode | Stopped | Finished:
    try:
        return _LINE.validate_json(text)
    except ValidationError as error:
        raise InvalidRecordsError(
            f"{path}, line {number}: {'; '.join(problems_of(error))}",
            param=f"line {number}",
            hint="remove the line to have its episode done again, or name another file",
        ) from error


class RecordFile:
    """A file of records, open for appending by one process. Use as a context manager. ``fresh``: without what it held.

    Raises ConflictError while another process has it, InvalidRecordsError for a broken line.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        self._fresh = fresh
        self._file: BufferedRandom | None = None
        self._known: dict[str, Episode] = {}
        self._replaced: list[Episode] = []
        self.recorded = Recorded()

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+b")
        try:
            self._lock(file)
            if self._fresh:
                file.truncate(0)  # only now: before, the records may be those of an evaluation that is running
            self.recorded = read_records(self._path)
            if self.recorded.torn:
                file.truncate(self._path.stat().st_size - self.recorded.torn)
        except BaseException:  # whatever happens, the file does not stay open
            file.close()
            raise
        self._file = file
        self._known = {episode.key: episode for episode in self.recorded.episodes}
        self._replaced = list(self.recorded.replaced)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def __contains__(self, key: str) -> bool:
        """Whether there is a record that counts: the episode need not be played again."""
        return key in self._known and self._known[key].counts

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All records, those of earlier starts first."""
        return tuple(self._known.values())

    def append(self, episode: Episode) -> None:
        """Keep a record; a second one of the same key is kept only where the first failed through its environment."""
        if _keep(episode, self._known, self._replaced):
            self._write(episode)

    def of(self, keys: Container[str]) -> tuple[Episode, ...]:
        """The records of these keys; those of other plans in the same file are left out."""
        return tuple(episode for episode in self._known.values() if episode.key in keys)

    def spent_nano_usd(self, keys: Container[str]) -> NanoUsd:
        """What episodes of these keys took so far, with those that were played again."""
        paid = (*self._known.values(), *self._replaced)
        return sum(episode.cost_nano_usd for episode in paid if episode.key in keys)

    def stop(self, reason: str, *, planned: int, done: int | None = None) -> Stopped:
        """Mark that this start ends early. ``done``: episodes of its plan that are recorded; default: all that are."""
        stopped = Stopped(reason=reason, done=len(self._known) if done is None else done, planned=planned)
        self._write(stopped)
        return stopped

    def finish(self, *, planned: int) -> None:
        """Mark that all is done."""
        self._write(Finished(planned=planned))

    def _write(self, line: Line) -> None:
        if self._file is None:
            raise ConflictError(f"{self._path} is not open", hint="use the file as a context manager")
        content = {"kind": line.kind} | line.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._file.write(f"{text}\n".encode())
        self._file.flush()

    def _lock(self, file: BufferedRandom) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"{self._path} is in use by another evaluation", hint="wait for it, or name another file"
            ) from error
