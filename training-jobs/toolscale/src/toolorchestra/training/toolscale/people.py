"""What users want besides the thing itself: to save money, to be quick, to be sure. Words for managers, weights for scoring."""

from random import Random
from typing import Final

from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.training.toolscale.wording import expand
from toolorchestra.worlds.tasks import Preference

NONE_SHARE: Final = 0.2  # some users say nothing of the kind
_PREFERENCES: Final[tuple[tuple[Weights, tuple[str, ...]], ...]] = (
    (
        Weights(accuracy=0.6, cost=0.9),
        (
            "[Please keep|Keep] the cost of handling this as low as you can.",
            "I'm on a [tight|small] budget, so [nothing|no help] that costs extra, please.",
            "[We|You] pay per question here, so [don't call in|skip] anything expensive unless you [must|really have to].",
            "My plan only covers a few pennies of this each month, [so be sparing|please don't use it up].",
        ),
    ),
    (
        Weights(accuracy=0.6, latency=0.9),
        (
            "[I'm in a hurry|I have about a minute], so [be quick|a fast answer matters most].",
            "I'm standing in a queue with my phone at two percent.",
            "[Somebody is waiting for me|My break is nearly over], [please don't take long|so the sooner the better].",
        ),
    ),
    (
        Weights(accuracy=1.0),
        (
            "[Take the time you need|Take your time], [it has to be right|I can't afford a mistake here].",
            "Last time this went wrong, so [double-check everything|please be thorough], whatever that costs.",
            "[Use the best you have|Get the best help there is]; this matters to me.",
        ),
    ),
    (
        Weights(accuracy=0.8, cost=0.5, latency=0.5),
        (
            "Neither slow nor expensive, [please|if possible].",
            "[Reasonably quick and cheap|Quick and cheap] would be [nice|good], [as long as it's right|but right first].",
        ),
    ),
    (
        Weights(accuracy=0.9, cost=0.3),
        (
            "[Don't overdo it|No need to overdo it]: spend a little where it helps, not more.",
            "If a simple way works, take the simple way.",
        ),
    ),
)


def draw_preference(random: Random) -> Preference:
    """A preference in words with its weights; now and then none."""
    if chance(random, NONE_SHARE):
        return Preference()
    weights, templates = random.choice(_PREFERENCES)
    return Preference(words=expand(random.choice(templates), random), weights=weights)
