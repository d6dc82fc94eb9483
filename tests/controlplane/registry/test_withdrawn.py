"""A model that another tenant lent and takes back: the next run is refused, and both sides say why."""

from collections.abc import Callable
from pathlib import Path

import yaml

from infra.cluster.local import LocalControlPlane
from tests.controlplane.registry.conftest import MakePlatform, orchestrator
from tests.support.platform import expert, wait_until
from toolorchestra.executors.testing import CountingProvider


def test_the_next_run_is_refused_with_the_model_and_the_fix(
    cluster_platform_on: MakePlatform,
    platform_api: LocalControlPlane,
    orchestrator_account: Path,
    new_namespace: Callable[[], str],
    namespace: str,
    provider: CountingProvider,
) -> None:
    lender = new_namespace()

    def lend(*names: str) -> None:
        allowed = {"from": "Names", "names": list(names)} if names else {"from": "Same"}
        document = expert("sage", provider, allowedNamespaces=allowed)
        document["metadata"] = {"name": "sage", "namespace": lender}
        platform_api.kubectl.apply(yaml.safe_dump(document))

    both = f'["{namespace}", "{lender}"]'
    with cluster_platform_on(
        platform_api, namespace, orchestrator_account, provider, TOOLORCHESTRA_WATCH_NAMESPACES=both
    ) as platform:
        lend(namespace)
        ref = {"expertModelRef": {"name": "sage", "namespace": lender}}
        platform.apply(orchestrator(policy=ref))
        platform.start()
        client = platform.caller()
        assert platform.ask(client).status_code == 200
        lend()
        wait_until(lambda: platform.ask(client).status_code == 503)
        error = platform.ask(client).json()["error"]
        assert f"{lender}/sage, which decides for 'main'" in error["message"]
        assert "allowedNamespaces" in error["message"]
        assert platform.violations() == []
