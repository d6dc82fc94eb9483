"""Which questions are for learning: held out are documents, and templates (the generators of all that has no document).

A name alone decides, so a document more or another seed moves nothing. All questions on one document, and all of one template
in whatever wording, are on the same side.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from toolorchestra.training.toolscale.splits import (
    HELDOUT_DOCUMENT,
    HELDOUT_TEMPLATE,
    QUESTION_SPLITS,
    SHARE,
    TEST,
    TEST_SHARE,
    TRAIN,
    draw,
)
from toolorchestra.worlds.questions import Need, QuestionTask

NAMES: Final = "heldout"  # what the draw of a document or template begins with


def tags_of(cluster: str, need: Need, key: str) -> tuple[str, ...]:
    """The split of a question. ``cluster`` is its document or template, ``key`` names the question."""
    if draw(NAMES, cluster) < SHARE:
        return (HELDOUT_DOCUMENT if need is Need.SEARCH else HELDOUT_TEMPLATE,)
    return (TEST,) if draw(cluster, key) < TEST_SHARE else (TRAIN,)


def question_splits(tasks: Iterable[QuestionTask]) -> Mapping[str, int]:
    """How many questions each split has."""
    counts = Counter(tag for task in tasks for tag in task.split)
    return {name: counts[name] for name in QUESTION_SPLITS}
