"""API keys: shown once, kept hashed, refused with a reason and without an echo."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.ledger.shorthand import PEPPER, Ledger
from toolorchestra.core.errors import InvalidRequestError, NotFoundError, UnauthenticatedError
from toolorchestra.ledger import keys, policies
from toolorchestra.ledger.keys import KeyLimits, Scopes


async def authenticate(ledger: Ledger, text: str, pepper: bytes = PEPPER):
    async with ledger.database.system() as connection:
        return await keys.authenticate(connection, text, pepper=pepper)


async def test_a_key_opens_what_it_was_made_for(ledger: Ledger, database):
    async with database.tenant("acme") as connection:
        scopes = Scopes(models=("assistant",), tools=("search*",))
        limits = KeyLimits.model_validate({"limits": {"day": "1.50"}, "concurrency": 3})
        new = await keys.create(connection, "acme", name="app", pepper=PEPPER, scopes=scopes, limits=limits)
    record = await authenticate(ledger, new.text)
    assert (record.id, record.tenant, record.name, record.scopes, record.limits) == (
        new.record.id,
        "acme",
        "app",
        scopes,
        limits,
    )
    async with database.tenant("acme") as connection:
        budget = await policies.key_budget(connection, "acme", record.id)
    assert [(row.unit.value, row.kind, row.limit) for row in budget] == [
        ("nano_usd", "day", 1_500_000_000),
        ("nano_usd", "total", None),
        ("requests", "total", None),
        ("slots", "total", 3),
    ]


async def test_the_secret_is_not_in_the_database_nor_in_a_repr(ledger: Ledger):
    new = await ledger.key()
    secret = new.text.partition(".")[2]
    (row,) = await ledger.ask("SELECT keys::text AS text FROM keys")
    assert secret not in row["text"]
    assert secret not in repr(new)


@pytest.mark.parametrize("what", ["unknown", "secret", "pepper", "revoked", "expired", "text"])
async def test_a_refused_key_is_told_why_and_never_repeated(ledger: Ledger, database, what):
    new = await ledger.key()
    text, pepper, words = new.text, PEPPER, "unknown"
    match what:
        case "unknown":
            text = f"to_{'0' * 16}.{text.partition('.')[2]}"
        case "secret":
            text = text[:-1] + ("A" if text[-1] != "A" else "B")
        case "pepper":
            pepper = b"another pepper, long enough"
        case "revoked":
            words = "revoked"
            async with database.tenant("acme") as connection:
                await keys.revoke(connection, "acme", new.record.id)
        case "expired":
            words = "expired"
            await ledger.ask("UPDATE keys SET expires_at = now() - interval '1 s' RETURNING id")
        case "text":
            text, words = "sk-something-else", "not an API key"
    with pytest.raises(UnauthenticatedError, match=words) as refused:
        await authenticate(ledger, text, pepper)
    for shown in (str(refused.value), repr(refused.value), str(refused.value.hint)):
        assert text not in shown
        assert text.partition(".")[2] not in shown or not text.partition(".")[2]


async def test_a_key_with_an_expiry_works_until_then(ledger: Ledger, database):
    async with database.tenant("acme") as connection:
        later = datetime.now(UTC) + timedelta(hours=1)
        new = await keys.create(connection, "acme", name="app", pepper=PEPPER, expires_at=later)
    assert (await authenticate(ledger, new.text)).expires_at == later


async def test_the_last_use_is_remembered_at_most_once_a_minute(ledger: Ledger):
    new = await ledger.key()
    assert (await authenticate(ledger, new.text)).last_used_at is None
    first = (await authenticate(ledger, new.text)).last_used_at
    assert first is not None
    await asyncio.gather(*(authenticate(ledger, new.text) for _ in range(5)))
    assert (await authenticate(ledger, new.text)).last_used_at == first
    await ledger.ask("UPDATE keys SET last_used_at = now() - interval '61 s' RETURNING id")
    await authenticate(ledger, new.text)
    assert (await authenticate(ledger, new.text)).last_used_at > first


async def test_keys_are_listed_and_revoked_within_their_tenant(ledger: Ledger, database):
    first, second = await ledger.key(), await ledger.key()
    async with database.tenant("acme") as connection:
        assert (await keys.revoke(connection, "acme", first.record.id)).revoked_at is not None
        listed = await keys.list_keys(connection, "acme")
        assert [(key.id, key.revoked_at is None) for key in listed] == [(second.record.id, True), (first.record.id, False)]
    async with database.tenant("other") as connection:
        with pytest.raises(NotFoundError):
            await keys.revoke(connection, "other", second.record.id)
        assert await keys.list_keys(connection, "other") == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " ", "pepper": PEPPER}, "name"),
        ({"name": "app", "pepper": b"short"}, "pepper"),
        ({"name": "app", "pepper": PEPPER, "expires_at": datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)}, "expiresAt"),
        ({"name": "app", "pepper": PEPPER, "limits": KeyLimits(time_zone="Mars/Base")}, "limits.timeZone"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(database, values, field):
    async with database.tenant("acme") as connection:
        with pytest.raises(InvalidRequestError) as refused:
            await keys.create(connection, "acme", **values)
    assert refused.value.param == field


async def test_service_accounts_of_two_tenants_with_one_name_have_two_accounts(ledger: Ledger, database):
    for tenant in ("acme", "other"):
        await ledger.policy(tenant)
        async with database.tenant(tenant) as connection:
            await keys.ensure_service_account(connection, tenant, "sa:builder")
            await keys.ensure_service_account(connection, tenant, "sa:builder")
        run = await ledger.open(tenant, key="sa:builder")
        await run.settle(await run.take(10), 10)
    assert await ledger.windows("k:acme/sa:builder") == {"total": (10, 0, 0)}
    assert await ledger.windows("k:other/sa:builder") == {"total": (10, 0, 0)}
    async with database.tenant("acme") as connection:
        with pytest.raises(InvalidRequestError, match="not a service account"):
            await keys.ensure_service_account(connection, "acme", "builder")
