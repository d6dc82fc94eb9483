"""A router that reads requests learns what they show; a set is not judged by too few tasks."""

import numpy as np
import pytest

from tests.support.library import task
from toolorchestra.training.toolscale.acceptance import accept
from toolorchestra.training.toolscale.reading import TextRouter, hashed
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.simulation.profiles import draw_cast


def test_the_router_asks_whoever_is_worth_most_on_what_it_reads():
    train, shop = ["the train to Larkfield is late"] * 30, ["a parcel from the shop is lost"] * 30
    values = np.array([[1.0, 0.0, 0.6]] * 30 + [[0.0, 1.0, 0.6]] * 30, dtype=np.float32)
    texts = hashed([*train, *shop, "my train to Larkfield", "the parcel from your shop", "good morning"])
    router = TextRouter.fitted(texts[:60], values)
    assert list(router.choose(texts[60:])) == [0, 1, 2]
    assert router.weights.shape == (texts.shape[1] + 1, 3)


def test_too_small_a_set_is_refused():
    with pytest.raises(InvalidWorldError, match="too small"):
        accept([task(id=f"t{number}") for number in range(60)], draw_cast(1), 1)
