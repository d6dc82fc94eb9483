"""What a run would take, told before it is begun: one group is played and one step's time is measured on this machine."""

import asyncio
from time import monotonic
from typing import Any, Final

from toolorchestra.core.money import format_usd
from toolorchestra.training.grpo.assembly import grouping_of
from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.settings import TrainingSettings

BACKWARD: Final = 2.0  # a step takes about this many times what playing it does: forward and backward beside sampling


def dry_run(settings: TrainingSettings) -> dict[str, Any]:
    """Episodes, tokens, hours and dollars of tools, estimated from one step that is played and thrown away.

    Raises InvalidRunError for whatever would stop the run before its first step.
    """
    loaded = load(settings.model)
    rollout = settings.rollout
    grouping = grouping_of(settings, loaded)
    began = monotonic()
    groups = asyncio.run(grouping.play(range(min(rollout.groups_per_step, len(grouping.source))), step=0))
    seconds = monotonic() - began
    episodes = [episode for group in groups for episode in group.episodes]
    steps, longest = settings.optimiser.steps, max(len(episode.trajectory.ids) for episode in episodes)
    dollars = sum(episode.rollout.cost_nano_usd for episode in episodes)
    return {
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "episodes": len(episodes) * steps * settings.processes,
        "tokens": sum(len(episode.trajectory.ids) for episode in episodes) * steps * settings.processes,
        "longestEpisodeTokens": longest,
        "estimatedMinutes": round(seconds * BACKWARD * steps / 60, 1),
        "simulatedToolDollars": format_usd(dollars * steps * settings.processes),
        "realToolDollars": "0",
    }
