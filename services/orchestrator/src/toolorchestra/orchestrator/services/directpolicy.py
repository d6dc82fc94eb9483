"""The policy of a direct call, rebuilt from the run's facts alone, also after a take-over."""

import json
from typing import Final

from typing_extensions import override

from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.policies.protocol import Policy, Quote, Reply, Terms, View

DIRECT: Final = "direct:"


class DirectPolicy(Policy):
    """Makes the one call that the opening names, then answers with its result."""

    @override
    def quote(self, view: View, *, forced: bool) -> Quote:
        return Quote()

    @override
    async def decide(self, view: View, terms: Terms) -> Reply:
        if view.state.turns and view.state.turns[0].calls:
            return Reply(Decision(answer_from="1/1", reason="called directly"))
        name = view.state.run.policy.removeprefix(DIRECT)
        arguments = json.loads(view.question)
        return Reply(Decision(calls=(Intent(function=name, arguments=arguments),), reason="called directly"))
