"""The plan of an evaluation: which managers, on which tasks, within which limits; a YAML file that is checked before a start.

It says what is to be played; ``report.Plan``, made from it, says what the report is to show.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import yaml
from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from toolorchestra.core.functions import Frozen
from toolorchestra.core.money import NanoUsd, parse_usd
from toolorchestra.core.resources.meta import Usd
from toolorchestra.training.evaluate.errors import InvalidPlanError, problems_of
from toolorchestra.training.evaluate.report import LINKS
from toolorchestra.training.evaluate.report import Plan as Shown
from toolorchestra.worlds.statistics import Drawing, Gate

ROUTERS: Final = (
    "golden",
    "nothing",
    "cheapest",
    "strongest",
    "random",
    "cascade",
    "lexical",
    "embedding",
    "oracle",
)
BOUNDS: Final = frozenset({"golden", "nothing", "oracle"})
MODELS: Final = ("monolith", "prompted", "orchestrator")  # written as `kind:name`
REAL: Final = ("prompted:", "orchestrator:")  # managers of a platform, which nobody simulates
MONOLITH: Final = "monolith:"
EVERY: Final = f"{MONOLITH}*"
COMPARED: Final = ("policy", "baseline", "untrained")  # of a report: names of policies
RUN_ID: Final = "{run_id}"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class Strict(Frozen):
    """Unknown fields are errors, and what stands beside a field in a file is relative to that file."""


class Worlds(Strict):
    """Tasks of worlds.

    ``worlds``: as they are. ``preferences``: each task once under each of several opposite preferences. ``unseen-tools``:
    with the held-out cast. ``unseen-prices``: the same experts at other prices. ``renamed-tools``: functions by other names.
    """

    kind: Literal["worlds", "preferences", "unseen-tools", "unseen-prices", "renamed-tools"]
    folders: Texts = Field(min_length=1, description="Folders of worlds.")
    count: PositiveInt | None = Field(default=None, description="Tasks of each world, drawn evenly. Default: all.")
    split: Texts = Field(default=(), description="Only tasks with one of these tags. Default: all.")
    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$", description="In the report. Default: the kind.")

    @property
    def label(self) -> str:
        return self.name or self.kind


class Questions(Strict):
    """Questions of a file: of our own kind (``qa``), of HLE or FRAMES as published, or of the user (``user``)."""

    kind: Literal["qa", "hle", "frames", "user"]
    file: str = Field(description="JSON lines.")
    count: PositiveInt | None = Field(default=None, description="So many, drawn evenly. Default: all.")
    split: Texts = Field(default=(), description="Only questions with one of these tags; for `qa`. Default: all.")
    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$", description="In the report. Default: the kind.")
    grader: str | None = Field(default=None, description="Entry point in `toolorchestra.graders`; for `user`.")
    config: dict[str, Any] = Field(default_factory=dict, description="Settings of the grader.")

    @property
    def label(self) -> str:
        return self.name or self.kind

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.kind == "user" and self.grader is None:
            raise ValueError("grader: questions of your own need one; name an entry point such as `normalised`")
        if self.split and self.kind != "qa":
            raise ValueError(f"split: questions of {self.kind} have no tags; leave it out")
        return self


class Tau2(Strict):
    """Dialogues of τ²-bench: its tasks.json, and a world that holds the tools of that domain."""

    kind: Literal["tau2"]
    file: str = Field(description="The tasks.json of a domain.")
    world: str = Field(description="Folder of a world with the same tools.")
    domain: str | None = Field(default=None, description="Default: the name of the file's folder.")
    count: PositiveInt | None = None
    name: str = Field(default="tau2", pattern=r"^[A-Za-z0-9._-]+$", description="In the report.")

    @property
    def label(self) -> str:
        return self.name


Suite: TypeAlias = Annotated[Worlds | Questions | Tau2, Field(discriminator="kind")]


def is_simulated(suite: Suite) -> bool:
    """Whether simulated experts know its tasks: those that tell each step to the answer, as worlds and our own questions do."""
    return isinstance(suite, Worlds) or suite.kind == "qa"


class CastPlan(Strict):
    """The simulated experts: drawn from a seed; ``test`` are held-out profiles and price ranges."""

    seed: int = 0
    split: Literal["train", "test"] = "train"
    offered: bool = Field(default=True, description="False: no simulated expert is offered, for managers with real ones.")


class Training(Strict):
    """What the lexical and the embedding router may learn from; without it they compare words with descriptions."""

    folders: Texts = Field(default=(), description="Folders of worlds.")
    questions: str | None = Field(default=None, description="A file of questions; those without tags are all for learning.")
    split: Texts = Field(default=("train",), description="Only tasks and questions with one of these tags.")
    count: PositiveInt = Field(default=400, description="Most tasks of each.")


class EpisodeLimits(Strict):
    """Limits of one episode."""

    turns: int = Field(default=50, ge=1, le=50, description="Of one run.")
    runs: int = Field(default=20, ge=1, le=100, description="Of one dialogue; other episodes are one run.")
    seconds: PositiveInt = 3_600
    cost_usd: Usd | None = None
    output_tokens: int = Field(default=1_024, ge=64, le=131_072)


class Limits(Strict):
    """Where to stop; what is done by then is kept, and every report says that it is partial."""

    cost_usd: Usd | None = Field(default=None, description="Most US dollars of all episodes together. Default: no limit.")
    minutes: float | None = Field(default=None, gt=0, description="Longest time. Default: no limit.")
    parallel: int = Field(default=2, ge=1, le=256, description="Episodes at once; processes where they are played here.")
    failures: PositiveInt = Field(default=20, description="So many environment failures in a row end it.")
    episode: EpisodeLimits = EpisodeLimits()

    @property
    def nano_usd(self) -> NanoUsd | None:
        return None if self.cost_usd is None else parse_usd(self.cost_usd)


class GatePlan(Strict):
    """What the primary policy must keep against the baseline; see docs/howto/evaluate.md."""

    delta: float = Field(default=0.03, gt=0, lt=1)
    cost_ratio: float = Field(default=1.0, gt=0)
    min_tasks: PositiveInt = 400
    min_clusters: PositiveInt = 40


class ReportPlan(Strict):
    """What the report is to show."""

    policy: str | None = Field(default=None, description="The policy that is judged; with `baseline` the primary comparison.")
    baseline: str | None = Field(default=None, description="What it is compared with.")
    untrained: str | None = Field(default=None, description="For the paper's preference score.")
    gate: GatePlan | None = None
    level: float = Field(default=0.95, gt=0.5, lt=1)
    resamples: int = Field(default=2_000, ge=100, le=100_000)
    run_link: str = Field(default="", description="Address of a run, with {run_id} in it; the worst cases link there.")
    worst: NonNegativeInt = 10
    skill_questions: NonNegativeInt = Field(
        default=10, description="Most questions of a topic that each real tool is called for, to measure it; 0: it is not."
    )


class PlatformPlan(Strict):
    """The platform on which it is played if it is; the key is read from an environment variable, never from a file."""

    url: str | None = Field(default=None, description="Default: that of the command line, else one that is started for it.")
    key_env: str = Field(default="TOOLORCHESTRA_API_KEY", pattern=r"^[A-Z][A-Z0-9_]*$")
    namespace: str = "default"


class ModelPlan(Strict):
    """A model beside the evaluated ones, behind an OpenAI-compatible server; the key stands in an environment variable."""

    base_url: str
    model: str
    key_env: str | None = None


class EvaluationPlan(Strict):
    """A whole plan. Paths in it are relative to its file."""

    title: str = "Evaluation"
    seed: int = 0
    repeats: int = Field(default=1, ge=1, le=100)
    cast: CastPlan = CastPlan()
    suites: tuple[Suite, ...] = Field(min_length=1)
    policies: tuple[str, ...] = Field(min_length=1)
    tools: Texts = Field(default=(), description="Manifests of the tools for questions. Default: the installed plug-ins.")
    training: Training = Training()
    limits: Limits = Limits()
    report: ReportPlan = ReportPlan()
    platform: PlatformPlan = PlatformPlan()
    judge: ModelPlan | None = Field(default=None, description="Grades free answers.")
    user: ModelPlan | None = Field(default=None, description="Plays the users of dialogues. Default: a script.")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if problems := list(_problems(self)):
            raise ValueError("; ".join(problems))
        return self

    @property
    def needs_platform(self) -> bool:
        """Whether a policy is named that only a platform can play."""
        return any(name.startswith(REAL) for name in self.policies)

    @property
    def named(self) -> Iterator[tuple[str, str]]:
        """Every policy that is named, with the field that names it."""
        yield from (("policies", name) for name in self.policies)
        yield from ((f"report.{field}", name) for field in COMPARED if (name := getattr(self.report, field)) is not None)

    def reported(self, notes: Sequence[str] = ()) -> Shown:
        """What the report is to show; ``notes`` are what is to be known before its figures."""
        wanted = self.report
        return Shown(
            policy=wanted.policy,
            baseline=wanted.baseline,
            title=self.title,
            gate=Gate(**wanted.gate.model_dump()) if wanted.gate else None,
            untrained=wanted.untrained,
            drawing=Drawing(seed=self.seed, resamples=wanted.resamples, level=wanted.level),
            run_link=wanted.run_link,
            settings=_settings(self),
            notes=tuple(notes),
            worst=wanted.worst,
            bounds=BOUNDS,
        )


def _settings(plan: EvaluationPlan) -> dict[str, str]:
    """What the report prints of the plan, so that it can be done again."""
    return {
        "seed": str(plan.seed),
        "cast": f"seed {plan.cast.seed}, {plan.cast.split} profiles" if plan.cast.offered else "none is offered",
        "suites": ", ".join(suite.label for suite in plan.suites),
        "repeats": str(plan.repeats),
    }


def _problems(plan: EvaluationPlan) -> Iterator[str]:
    labels = [suite.label for suite in plan.suites]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        yield f"suites: {twice!r} stands twice; give one of them another name"
    for name in plan.policies:
        yield from _policy_problems(name)
        if not plan.cast.offered and needs_experts(name):
            yield f"policies: {name!r} needs simulated experts, and cast.offered is false"
    if twice := next((name for name in plan.policies if plan.policies.count(name) > 1), None):
        yield f"policies: {twice!r} stands twice"
    if not any(map(is_simulated, plan.suites)) and (names := list(filter(needs_experts, plan.policies))):
        yield (
            f"policies: simulated experts know nothing of {', '.join(labels)}, and nobody else plays {', '.join(names)}; "
            "name golden, nothing or managers of a platform, or add a suite of worlds or of qa"
        )
    yield from _report_problems(plan)


def needs_experts(policy: str) -> bool:
    """Whether only simulated experts can play it."""
    return policy not in BOUNDS - {"oracle"} and not policy.startswith(REAL)


def _report_problems(plan: EvaluationPlan) -> Iterator[str]:
    wanted = plan.report
    for field in COMPARED:
        name = getattr(wanted, field)
        if name is not None and not _plays(plan, name):
            yield f"report.{field}: no policy is {name!r}; write one of {', '.join(plan.policies)}"
    if wanted.policy is not None and wanted.policy == wanted.baseline:
        yield "report.baseline: it is report.policy itself; name another one"
    if wanted.gate and not (wanted.policy and wanted.baseline):
        yield "report.gate: it needs report.policy and report.baseline"
    if wanted.run_link and not (wanted.run_link.startswith(LINKS) and RUN_ID in wanted.run_link):
        yield f"report.run_link: write an address that begins with one of {', '.join(LINKS)} and has {RUN_ID} in it"


def _plays(plan: EvaluationPlan, policy: str) -> bool:
    """Whether the plan names a policy; who is in the cast is known when that is drawn."""
    return policy != EVERY and (policy in plan.policies or (policy.startswith(MONOLITH) and EVERY in plan.policies))


def _policy_problems(name: str) -> Iterator[str]:
    kind, colon, rest = name.partition(":")
    if colon and kind in MODELS and rest:
        return
    if colon or name not in ROUTERS:
        known = ", ".join([*ROUTERS, *(f"{kind}:NAME" for kind in MODELS)])
        yield f"policies: there is no {name!r}; write one of {known}"


def read_plan(path: Path) -> EvaluationPlan:
    """The plan in a file. Raises InvalidPlanError that names the field and the fix."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidPlanError(
            f"{path}: cannot be read: {error.strerror}", param="plan", hint="name an existing file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidPlanError(f"{path}: not valid YAML: {' '.join(str(error).split())}", param="plan") from error
    return parse_plan(content, source=str(path), base=path.parent)


def parse_plan(content: Any, *, source: str, base: Path) -> EvaluationPlan:
    """The plan that YAML or JSON values are; ``base`` is what its paths are relative to. Raises InvalidPlanError."""
    try:
        plan = EvaluationPlan.model_validate_json(json.dumps(content))
    except ValidationError as error:
        problems = list(problems_of(error))
        hint = "see docs/howto/evaluate.md for all fields"
        field, _, _ = problems[0].partition(":")
        raise InvalidPlanError(f"{source}: {'; '.join(problems)}", param=field, hint=hint) from error
    except (TypeError, ValueError) as error:
        raise InvalidPlanError(f"{source}: {error}", hint="write plain YAML values") from error
    return plan.model_copy(
        update={
            "suites": tuple(_from(base, suite) for suite in plan.suites),
            "training": _from(base, plan.training),
            "tools": _absolute(base, plan.tools),
        }
    )


_PATHS: Final = ("folders", "file", "world", "questions")


def _from(base: Path, part: Any) -> Any:
    """A part of the plan with its paths made absolute."""
    update = {name: _absolute(base, getattr(part, name)) for name in _PATHS if getattr(part, name, None)}
    return part.model_copy(update=update)


def _absolute(base: Path, value: str | Sequence[str]) -> Any:
    if isinstance(value, str):
        return str((base / value).resolve())
    return tuple(_absolute(base, one) for one in value)
