"""A whole training run into one folder: train by GRPO, look at it while it runs, pass the gate or say why not, publish.

The folder holds ``metrics.jsonl`` (a line per step), ``rollouts.jsonl`` (one group in so many), ``checkpoints/``,
``report.json`` with ``report.html`` and, once the gate was passed, ``model/`` with its manifest. A run that was ended goes on
from its newest checkpoint.
"""

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Final

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, set_seed
from typing_extensions import override

from toolorchestra.core.policyformat import FORMAT_HASH
from toolorchestra.training.grpo import trl as seam
from toolorchestra.training.grpo.assembly import Tasks, grouping_of, tasks_of
from toolorchestra.training.grpo.averaging import Average, forget_averages
from toolorchestra.training.grpo.beginning import (
    Free,
    check_enough,
    check_room,
    check_same,
    free_bytes,
    make_folder,
)
from toolorchestra.training.grpo.checkpoints import Loaded, load, publish
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.gating import Gate, Score
from toolorchestra.training.grpo.grouping import Figures, Group, Grouping, Schedule
from toolorchestra.training.grpo.policies import PolicyBackend
from toolorchestra.training.grpo.ranks import Place, any_of, gathered, place
from toolorchestra.training.grpo.records import group_record
from toolorchestra.training.grpo.report_page import METRICS, REPORT, ROLLOUTS, write_page
from toolorchestra.training.grpo.resuming import (
    CHECKPOINTS,
    forget_after,
    held_bytes,
    newest_checkpoint,
    seconds_at,
    set_aside,
    step_of,
)
from toolorchestra.training.grpo.rollouts import Engine
from toolorchestra.training.grpo.settings import TrainingSettings

MODEL: Final = "model"
SHOWN_EVERY: Final = 10  # steps between groups that are written down whole
Tell = Callable[[str], None]
Show = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run came to. ``model`` is None where nothing was published; ``reasons`` say why.

    Without a gate there are no scores, and a run that was told to stop has none from after it.
    """

    before: Score | None
    after: Score | None
    reasons: tuple[str, ...]
    seconds: float
    steps: int
    stopped: str | None
    model: Path | None


@dataclass(slots=True)
class Run:
    """One training run. ``tell`` hears sentences for people, ``show`` the figures of each step."""

    settings: TrainingSettings
    folder: Path
    tell: Tell = print
    show: Show = lambda _: None
    free: Free = free_bytes
    stopped: str | None = field(default=None)
    place: Place = field(default=Place(0, 1), init=False)

    def train(self) -> Trained:
        """All of it. Raises InvalidRunError before any compute is spent, where it can be known before."""
        seam.check_trl()
        settings = self.settings
        self._take_place()
        set_seed(settings.seed)  # an adapter is drawn as it is made
        tasks = tasks_of(settings)
        check_enough(settings, len(tasks.source))
        loaded = load(settings.model)
        make_folder(self.folder)
        held = held_bytes(self.folder)
        check_room(loaded.model, self.folder, keep=settings.checkpoint.keep, held=held, free=self.free)
        if self.place.is_first:
            data = json.loads(json.dumps(tasks.manifest))
            check_same(self.folder, settings, data, goes_on=newest_checkpoint(self.folder) is not None)
        grouping = grouping_of(settings, loaded, tasks)
        before = self._score(tasks.gate, grouping.engine, "before", step=0)
        steps, seconds = self._steps(loaded, grouping)
        told = f"after {steps} steps in {seconds:.0f} s"
        after = self._score(tasks.gate, grouping.engine, told, step=steps) if self.stopped is None else None
        reasons = self._reasons(tasks.gate, after)
        return self._finish(loaded, tasks, Trained(before, after, reasons, seconds, steps, self.stopped, None))

    def _take_place(self) -> None:
        self.place = place(self.settings.processes)
        if not self.place.is_first:
            self.tell = _nothing

    def _score(self, gate: Gate[Any] | None, engine: Engine, when: str, *, step: int) -> Score | None:
        if gate is None:
            return None
        engine.backend.begin(step)
        score: Score = gate.score(engine)
        self.tell(f"{when}: {score.sentence()}")
        return score

    def _reasons(self, gate: Gate[Any] | None, after: Score | None) -> tuple[str, ...]:
        """Why nothing is published; empty if something is."""
        if self.stopped is not None:
            return (self.stopped,)
        if after is None or gate is None:
            return ("there is no gate to pass",)
        return tuple(gate.failures(after))

    def _steps(self, loaded: Loaded, grouping: Grouping) -> tuple[int, float]:
        """How many were taken and the seconds that they took, those of earlier starts included."""
        settings, count = self.settings, len(grouping.source)
        checkpoint = newest_checkpoint(self.folder)
        average = Average(loaded.model, settings.optimiser.averaged)
        watch = _Watch(self, grouping.engine.backend, average, before_s=seconds_at(self.folder / METRICS, step_of(checkpoint)))
        trainer = seam.trainer_class(settings.rollout.backend)(
            model=loaded.model,
            reward_funcs=[seam.advantage_reward],
            args=seam.config(**trainer_arguments(settings, self.folder)),
            train_dataset=Dataset.from_dict({"prompt": [str(number) for number in range(count)]}),
            processing_class=loaded.codec.tokenizer,
            rollout_func=seam.rollout_function(grouping, Schedule(count, settings.seed), watch.heard),
            callbacks=[watch],
        )
        try:
            self._train(trainer, watch, checkpoint)
        except (OSError, RuntimeError, SafetensorError):
            check_room(loaded.model, self.folder, keep=0, free=self.free)  # says so where that is why
            raise
        average.give()
        return max(int(trainer.state.global_step), step_of(checkpoint)), watch.seconds

    def _train(self, trainer: Any, watch: "_Watch", checkpoint: Path | None) -> None:
        """From a checkpoint on, if there is anything left to do after it: then only its end was interrupted."""
        done = step_of(checkpoint)
        if len(found := set(gathered(done))) > 1:
            raise InvalidRunError(
                f"{self.folder}: the processes found checkpoints of different steps, {sorted(found)}",
                hint="all processes of a run need one folder that they share",
            )
        if checkpoint is not None:
            watch.average.load(checkpoint.parent, done)
        if checkpoint is not None and (done >= self.settings.optimiser.steps or any_of(watch.is_late())):
            seam.restore(trainer, checkpoint)
            return
        if self.place.is_first:
            forget_after(self.folder / METRICS, done)
            forget_after(self.folder / ROLLOUTS, done - 1)  # played at a step's beginning
        watch.begin()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def _finish(self, loaded: Loaded, tasks: Tasks, trained: Trained) -> Trained:
        """Publish what passed, and write the report in any case; one process does so for all."""
        model = None if trained.reasons else self.folder / MODEL
        done = replace(trained, model=model)
        if not self.place.is_first:
            return done
        if done.after is not None and model is None:
            set_aside(self.folder / MODEL)
        if model is not None:
            publish(loaded.model, loaded.codec.tokenizer, model, self._manifest(loaded, tasks, trained))
        self.tell(f"published {model}" if model else f"not published: {'; '.join(trained.reasons)}")
        (self.folder / REPORT).write_text(json.dumps(report_of(done, tasks, self.settings), indent=2) + "\n")
        write_page(self.folder)
        return done

    def _manifest(self, loaded: Loaded, tasks: Tasks, trained: Trained) -> dict[str, Any]:
        return {
            "formatHash": FORMAT_HASH,
            "from": {"path": self.settings.model.path, "manifest": dict(loaded.manifest)},
            "settings": self.settings.model_dump(mode="json"),
            "scores": {"before": document_of(trained.before), "after": document_of(trained.after)},
            "data": tasks.manifest,
        }


class _Watch(TrainerCallback):  # type: ignore[misc]  # TRL's base has no types
    """Writes metrics while the run goes on, and ends it by time or by SIGTERM after saving.

    ``before_s`` is what the steps took that a run goes on from.
    """

    def __init__(self, run: Run, backend: PolicyBackend, average: Average, *, before_s: float) -> None:
        self.average = average
        self._run = run
        self._before_s = before_s
        self._began: float | None = None
        self._step_began = 0.0
        self._played_s = 0.0
        self._backend = backend
        self._newest: Figures | None = None
        self._told_to_stop = False

    def begin(self) -> None:
        """Steps begin now."""
        self._began = monotonic()
        self._before = signal.signal(signal.SIGTERM, self._stop)

    @property
    def seconds(self) -> float:
        """What all steps took so far."""
        return self._before_s + (monotonic() - self._began if self._began is not None else 0.0)

    def is_late(self) -> bool:
        """Whether the time is over that the run has for its steps."""
        minutes = self._run.settings.optimiser.minutes
        return minutes is not None and self.seconds >= minutes * 60

    def heard(self, groups: Sequence[Group], figures: Figures, step: int) -> None:
        """The groups of a step that were just played."""
        self._played_s = monotonic() - self._step_began
        self._newest = Figures.together(gathered(figures))
        if step % SHOWN_EVERY == 0 and self._run.place.is_first:
            with (self._run.folder / ROLLOUTS).open("a") as file:
                file.write(json.dumps({"step": step, **group_record(groups[0])}) + "\n")

    @override
    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        self._step_began = monotonic()
        return control

    @override
    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        self._write(state)
        if any_of(self.is_late()):
            control.should_save = control.should_training_stop = True
        if any_of(self._told_to_stop):
            self._run.stopped = "it was told to stop; start it again to go on"
            control.should_save = control.should_training_stop = True
        self.average.add()
        if control.should_save and self._run.place.is_first:
            self.average.save(self._run.folder / CHECKPOINTS, state.global_step)
        return control

    @override
    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        if self._run.place.is_first:
            forget_averages(self._run.folder / CHECKPOINTS)
        return control

    def _write(self, state: TrainerState) -> None:
        if self._newest is None or not self._run.place.is_first:
            return
        figures = {**self._newest.document(), **self._backend.figures()}
        times = {"seconds": round(self.seconds, 2), "played_seconds": round(self._played_s, 2)}
        line = {"step": state.global_step, **times, **figures}
        with (self._run.folder / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._run.show(line)
        if state.global_step % 5 == 0:
            self._run.tell(f"step {state.global_step}, {line['seconds']:.0f} s: {self._newest.sentence()}")

    @override
    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        signal.signal(signal.SIGTERM, self._before)
        return control

    def _stop(self, *_: Any) -> None:
        self._told_to_stop = True


def _nothing(_: Any) -> None:
    """Said where the first process speaks for all."""


def trainer_arguments(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """TRL's arguments: one generation per step, all of it on policy."""
    rollout, optimiser = settings.rollout, settings.optimiser
    episodes = rollout.group_size * rollout.groups_per_step
    micro = optimiser.micro_batch or episodes
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": episodes // micro,
        "steps_per_generation": episodes // micro,
        "num_generations": rollout.group_size,
        "temperature": rollout.temperature,
        "learning_rate": optimiser.learning_rate,
        "lr_scheduler_type": optimiser.schedule,
        "warmup_steps": optimiser.warmup_steps,
        "max_steps": optimiser.steps,
        "max_grad_norm": optimiser.grad_clip,
        "adam_beta2": 0.98,
        "beta": 0.0,
        "bf16": gpu,
        "use_cpu": not gpu,
        "gradient_checkpointing": gpu,
        "dataloader_pin_memory": gpu,
        "save_steps": settings.checkpoint.every,
        "save_total_limit": settings.checkpoint.keep,
        "logging_steps": 1,
        "report_to": reporters(),
        "disable_tqdm": True,
        "seed": settings.seed,
    }


def reporters() -> list[str]:
    """TensorBoard, unless the environment asks for MLflow or Weights & Biases and has it."""
    others = (("mlflow", "MLFLOW_TRACKING_URI"), ("wandb", "WANDB_API_KEY"))
    asked = [name for name, variable in others if os.environ.get(variable) and find_spec(name) is not None]
    return asked or ["tensorboard"]


def document_of(score: Score | None) -> dict[str, Any] | None:
    """A score as JSON, where one was taken."""
    return score.document() if score is not None else None


def report_of(trained: Trained, tasks: Tasks, settings: TrainingSettings) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "title": settings.title,
        "settings": settings.model_dump(mode="json"),
        "data": tasks.manifest,
        "before": document_of(trained.before),
        "after": document_of(trained.after),
        "passed": trained.model is not None,
        "reasons": list(trained.reasons),
        "stopped": trained.stopped,
        "seconds": round(trained.seconds, 1),
        "steps": trained.steps,
        "model": str(trained.model) if trained.model else None,
    }
