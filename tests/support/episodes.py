"""Playing a plan in memory, and what came out of it."""

import asyncio
from collections import defaultdict

from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.output import JSON_NAME
from toolorchestra.training.evaluate.records import read_records

WORLDS = {"kind": "worlds", "folders": ["railway"], "count": 6}
QA = {"kind": "qa", "file": "questions.jsonl", "count": 8}


def played(plan, folder, **options):
    """All episodes of a plan, and its report as bytes."""
    asyncio.run(Evaluation(plan, folder, **options).run())
    return read_records(folder / "episodes.jsonl").episodes, (folder / JSON_NAME).read_bytes()


def rates(episodes, **wanted):
    """The success rate of each policy over the episodes whose fields are as wanted."""
    by_policy = defaultdict(list)
    for episode in episodes:
        if all(getattr(episode, name) == value for name, value in wanted.items()):
            by_policy[episode.policy].append(episode.success)
    return {policy: sum(found) / len(found) for policy, found in by_policy.items()}
