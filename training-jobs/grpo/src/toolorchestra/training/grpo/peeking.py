"""One group as a table: what was asked, what each episode did, and why it is worth what it is worth."""

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import format_usd
from toolorchestra.core.policies.history import price_tag
from toolorchestra.training.grpo.assembly import grouping_of, tasks_of
from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.grouping import Group
from toolorchestra.training.grpo.records import written
from toolorchestra.training.grpo.settings import TrainingSettings


async def peek(settings: TrainingSettings, task: int, episodes: int) -> str:
    """Play one group of a task as the run would, and show it. Raises InvalidRequestError for a task that is not there."""
    tasks = tasks_of(settings)
    if episodes < 1:
        raise InvalidRequestError(f"a group of {episodes} episodes shows nothing", param="-n", hint="1 or more")
    if not 0 <= task < len(tasks.source):
        raise InvalidRequestError(f"there is no task {task}", param="TASK", hint=f"0 to {len(tasks.source) - 1}")
    grouping = grouping_of(settings, load(settings.model), tasks, size=episodes)
    return shown(*await grouping.play([task], step=0))


def shown(group: Group) -> str:
    """A group as text."""
    scene, score = group.scene, group.score
    question = f"{scene.opened.question}  {scene.opened.preference.words or ''}".strip()
    lines = [
        f"task {scene.id}: {question}",
        f"C* ${format_usd(scene.yardstick.cost_nano_usd)}, L* {scene.yardstick.latency_ms} ms",
    ]
    lines += [f"  {one.name} - {one.description} [{price_tag(one)}]" for one in scene.revision.functions]
    rows = zip(group.episodes, score.rewards, score.terms, score.advantages, strict=True)
    for number, (episode, reward, terms, advantage) in enumerate(rows, start=1):
        rollout = episode.rollout
        mark = " (first tool drawn)" if episode.explored else ""
        lines.append(f"{number}. {rollout.outcome.value}, ${format_usd(rollout.cost_nano_usd)}, {rollout.latency_ms} ms{mark}")
        lines += [f"     {text}" for text in written(episode)]
        if reward is not None and advantage is not None and terms is not None:
            parts = ", ".join(f"{name} {value:.3f}" for name, value in terms.items())
            lines.append(f"     reward {reward:.3f} ({parts}), advantage {advantage:+.3f}")
    lines.append(f"std {score.std:.3f}" + (f"; dropped: {score.dropped}" if score.dropped else ""))
    return "\n".join(lines)
