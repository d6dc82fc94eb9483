"""What a cluster is given in production, object by object, so that every change of it is seen in a review.

After a change that is meant: ``TOOLORCHESTRA_GOLDEN=write pytest tests/charts/test_golden.py``, and read the difference.
"""

import os
from pathlib import Path

import pytest
import yaml

from tests.support.helm import CHART, Helm

GOLDEN = Path(__file__).parent / "golden"
OBJECTS = [
    ("Deployment", "toolorchestra-orchestrator"),
    ("Deployment", "toolorchestra-worker-bulk"),
    ("Deployment", "toolorchestra-sandbox"),
    ("Deployment", "toolorchestra-operator"),
    ("HorizontalPodAutoscaler", "toolorchestra-orchestrator"),
    ("NetworkPolicy", "toolorchestra-sandbox"),
    ("ConfigMap", "toolorchestra-config"),
    ("Pod", "toolorchestra-test"),
]


@pytest.mark.parametrize(("kind", "name"), OBJECTS, ids=lambda text: text)
def test_production_is_given_what_was_agreed(helm: Helm, kind: str, name: str):
    item = helm.render(CHART / "ci" / "production-values.yaml").one(kind, name)
    text = yaml.safe_dump(item, sort_keys=False, width=120)
    path = GOLDEN / f"{kind.lower()}-{name}.yaml"
    if os.environ.get("TOOLORCHESTRA_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text(), "see the head of this file if the change is meant"
