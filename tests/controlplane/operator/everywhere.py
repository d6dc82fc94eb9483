"""A control plane of a module's own, and one operator that serves all of its namespaces."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.support.cluster import control_plane
from tests.support.crds import install_crds
from tests.support.operators import OperatorSpace, grant, signed_in

# Nobody answers there: without a database the operator does all but budgets.
NO_DATABASE = "postgresql://nobody@127.0.0.1:9/none"


@contextmanager
def operator_everywhere(folder: Path, **settings: str) -> Iterator[Callable[[], OperatorSpace]]:
    """Gives functions that make a new namespace, which the operator serves at once."""
    with control_plane() as running:
        install_crds(running)
        grant(running, None)
        environment = {"TOOLORCHESTRA_DATABASE_URL": NO_DATABASE, "TOOLORCHESTRA_EGRESS_ALLOW": '["127.0.0.1"]'}
        everywhere = OperatorSpace(running, "default", signed_in(running, folder), folder, environment)
        numbers = itertools.count(1)

        def new_space() -> OperatorSpace:
            name = f"space-{next(numbers)}"
            running.kubectl("create", "namespace", name)
            return replace(everywhere, namespace=name)

        with everywhere.operator(watch_namespaces="[]", **settings):
            yield new_space
