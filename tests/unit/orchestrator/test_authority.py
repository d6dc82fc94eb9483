"""Tokens of a cluster: whose they are, what they may, and how often the API server is asked."""

import base64
import json
import time

import pytest

from toolorchestra.core.errors import (
    ForbiddenError,
    InvalidRequestError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from toolorchestra.core.registry import Catalog
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.testing import manifest
from toolorchestra.kit.kubernetes import TOKEN_REVIEWS
from toolorchestra.kit.testing import MemoryKubernetes
from toolorchestra.orchestrator.services import identities as module
from toolorchestra.orchestrator.services.authentication import Authenticator, ServiceAccounts
from toolorchestra.orchestrator.services.authority import KubernetesAuthority
from toolorchestra.orchestrator.services.identities import Identities
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.orchestrator.storage.reviews import Action, Reviews
from toolorchestra.orchestrator.testing import FixedRegistry, MemoryAccounts

ACCOUNT = "system:serviceaccount:acme:app"


def jwt(audience="toolorchestra", *, expires_in=3_600.0, mark="x"):
    """A token as it looks; only the API server could tell whether it is good."""
    claims = {"aud": [audience] if audience else [], "exp": time.time() + expires_in}
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{middle}.{mark}"


class Cluster:
    """An API server that knows some tokens, and grants some (user, verb, resource, namespace)."""

    def __init__(self):
        self.users = {}
        self.grants = set()
        self.asked = []
        self.error = None
        self.api = MemoryKubernetes(reviews=self._review)
        self.reviews = Reviews(self.api)
        self.identities = Identities(self.reviews)

    def knows(self, token, username=ACCOUNT):
        self.users[token] = username
        return token

    def authority(self):
        return KubernetesAuthority(self.identities, self.reviews, "toolorchestra")

    def service_accounts(self, accounts, *, registry=None, namespaces=()):
        return ServiceAccounts(
            identities=self.identities,
            accounts=accounts,
            registry=registry or FixedRegistry(),
            default=BudgetPolicySpec(),
            audience="toolorchestra",
            namespaces=namespaces,
        )

    def _review(self, of, body):
        if self.error is not None:
            raise self.error
        spec = body["spec"]
        if of == TOKEN_REVIEWS:
            self.asked.append((spec["token"], spec.get("audiences")))
            user = self.users.get(spec["token"])
            if user is None:
                return {"authenticated": False}
            return {"authenticated": True, "user": {"username": user}, "audiences": spec.get("audiences", ["api"])}
        wanted = spec["resourceAttributes"]
        assert wanted["group"] == "toolorchestra.dev"
        return {"allowed": (spec["user"], wanted["verb"], wanted["resource"], wanted["namespace"]) in self.grants}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test moves, from now on."""

    class Clock:
        moved = 0.0

        def monotonic(self):
            return 1_000.0 + self.moved

        def time(self):
            return time.time() + self.moved

    monkeypatch.setattr(module, "time", Clock())
    return module.time


async def test_a_token_is_reviewed_once_in_a_while(clock):
    cluster = Cluster()
    token = cluster.knows(jwt())
    for _ in range(5):
        assert (await cluster.identities.identify(token, "toolorchestra")).username == ACCOUNT
    clock.moved = module.FRESH_S + 0.1
    await cluster.identities.identify(token, "toolorchestra")
    assert len(cluster.asked) == 2


async def test_a_refusal_is_remembered_too_and_shows_no_token():
    cluster = Cluster()
    for _ in range(3):
        with pytest.raises(UnauthenticatedError) as refused:
            await cluster.identities.identify("n0ns3nse", None)
        assert "n0ns3nse" not in str(refused.value)
    assert len(cluster.asked) == 1


async def test_a_token_that_ends_is_asked_about_again_at_its_end(clock):
    cluster = Cluster()
    token = cluster.knows(jwt(expires_in=2))
    await cluster.identities.identify(token, None)
    cluster.users.clear()
    clock.moved = 2.5
    with pytest.raises(UnauthenticatedError):
        await cluster.identities.identify(token, None)


async def test_strangers_are_asked_about_at_a_bounded_rate_and_known_tokens_go_on(clock):
    cluster = Cluster()
    good = cluster.knows(jwt())
    await cluster.identities.identify(good, None)
    for number in range(200):
        with pytest.raises((UnauthenticatedError, RateLimitedError)):
            await cluster.identities.identify(f"stranger-{number}", None)
    assert len(cluster.asked) == module.NEW_AT_ONCE
    clock.moved = module.FRESH_S + 0.1
    await cluster.identities.identify(good, None)


async def test_a_good_token_is_believed_for_a_while_when_nobody_can_be_asked(clock):
    cluster = Cluster()
    token = cluster.knows(jwt())
    await cluster.identities.identify(token, None)
    cluster.error = UpstreamError("away")
    clock.moved = module.FRESH_S + 0.1
    assert (await cluster.identities.identify(token, None)).username == ACCOUNT
    with pytest.raises(UnavailableError, match="cannot be checked now: away"):
        await cluster.identities.identify("another", None)
    clock.moved = module.AWAY_S + 1
    with pytest.raises(UnavailableError):
        await cluster.identities.identify(token, None)


async def test_a_platform_that_may_not_review_blames_itself():
    cluster = Cluster()
    cluster.error = ForbiddenError('cannot create resource "tokenreviews"')
    with pytest.raises(UnavailableError, match="bind the chart's ClusterRole"):
        await cluster.identities.identify("any", None)


async def test_rbac_decides_and_a_refusal_names_the_role():
    cluster = Cluster()
    token = cluster.knows("opaque", "alice")
    with pytest.raises(ForbiddenError, match="--clusterrole=toolorchestra-budget-admin --user=alice"):
        await cluster.authority().admit(token, Action("create", "adjustments", "acme"))
    cluster.grants.add(("alice", "create", "keys", "acme"))
    assert await cluster.authority().admit(token, Action("create", "keys", "acme")) == "alice"
    with pytest.raises(ForbiddenError):
        await cluster.authority().admit(token, Action("create", "keys", "other"))


@pytest.mark.parametrize(("audience", "asked"), [("toolorchestra", ["toolorchestra"]), ("api", None)])
async def test_a_token_is_reviewed_for_the_audience_that_it_was_made_for(audience, asked):
    cluster = Cluster()
    token = cluster.knows(jwt(audience), "alice")
    cluster.grants.add(("alice", "get", "usage", "acme"))
    await cluster.authority().admit(token, Action("get", "usage", "acme"))
    assert cluster.asked == [(token, asked)]


async def test_a_service_account_is_a_key_of_its_namespace_and_its_account_is_opened_once():
    cluster, accounts = Cluster(), MemoryAccounts()
    authenticator = Authenticator(accounts, cluster.service_accounts(accounts))
    token = cluster.knows(jwt())
    for _ in range(2):
        assert await authenticator.authenticate(token) == Principal("acme", "sa:app")
    assert accounts.opened == [("acme", "sa:app", True)]
    assert accounts.asked == 0


async def test_a_tenant_with_a_policy_is_left_to_the_operator():
    cluster, accounts = Cluster(), MemoryAccounts()
    registry = FixedRegistry(Catalog(budgets={("acme", "default"): manifest("BudgetPolicy", "default", {}, namespace="acme")}))
    await cluster.service_accounts(accounts, registry=registry).authenticate(cluster.knows(jwt()))
    assert accounts.opened == [("acme", "sa:app", False)]


@pytest.mark.parametrize(
    ("token", "says"), [(jwt("https://api"), "for the audience https://api"), ("opaque", "neither an API key nor a token")]
)
async def test_another_audience_is_refused_without_asking(token, says):
    cluster = Cluster()
    with pytest.raises(UnauthenticatedError, match=says) as refused:
        await cluster.service_accounts(MemoryAccounts()).authenticate(token)
    assert "--audience toolorchestra" in str(refused.value)
    assert cluster.asked == []


async def test_people_and_namespaces_that_are_not_served_are_refused():
    cluster = Cluster()
    with pytest.raises(UnauthenticatedError, match="'alice' is not a ServiceAccount"):
        await cluster.service_accounts(MemoryAccounts()).authenticate(cluster.knows(jwt(mark="a"), "alice"))
    with pytest.raises(ForbiddenError, match="watchNamespaces"):
        await cluster.service_accounts(MemoryAccounts(), namespaces=("other",)).authenticate(cluster.knows(jwt()))


async def test_api_keys_are_not_shown_to_the_api_server():
    cluster, accounts = Cluster(), MemoryAccounts()
    with pytest.raises(UnauthenticatedError):
        await Authenticator(accounts, cluster.service_accounts(accounts)).authenticate("to_a.secret")
    assert cluster.asked == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"registry": "cluster", "manifests": ("tools",)}, "remove TOOLORCHESTRA_MANIFESTS"),
        ({"authority": "kubernetes", "admin_token_file": "token"}, "remove TOOLORCHESTRA_ADMIN_TOKEN_FILE"),
        ({"registry": "etcd"}, "TOOLORCHESTRA_REGISTRY"),
    ],
)
def test_settings_that_exclude_each_other_are_refused_by_name(values, says):
    with pytest.raises(InvalidRequestError, match=says):
        OrchestratorSettings.load(database_url="postgresql://db", key_pepper_file="pepper", **values)
