"""Who asks, and how secrets are read."""

from contextlib import nullcontext

import pytest

from toolorchestra.core.errors import ForbiddenError, InvalidRequestError, ModelNotFoundError, UnauthenticatedError
from toolorchestra.ledger.keys import KeyLimits, KeyRecord, Scopes
from toolorchestra.orchestrator.services.authentication import CACHE_MOST, Authenticator, read_secret_file
from toolorchestra.orchestrator.services.authority import AdminTokens
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.storage.reviews import Action
from toolorchestra.orchestrator.testing import EPOCH, MemoryAccounts


def known(*texts):
    accounts = MemoryAccounts()
    for text in texts:
        scopes = Scopes(models=("main", "ex*"), tools=("calc*",))
        accounts.keys[text] = KeyRecord(text, "acme", "ci", scopes, KeyLimits(), EPOCH, None, None, None)
    return accounts


async def test_a_good_answer_is_remembered_for_a_moment():
    accounts = known("to_a.secret")
    authenticator = Authenticator(accounts)
    first = await authenticator.authenticate("to_a.secret")
    assert first == Principal("acme", "to_a.secret", models=("main", "ex*"), tools=("calc*",))
    assert await authenticator.authenticate("to_a.secret") is first
    assert accounts.asked == 1


async def test_a_bad_answer_is_not_remembered():
    accounts = known()
    authenticator = Authenticator(accounts)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate("to_a.secret")
    assert accounts.asked == 2


async def test_what_is_remembered_is_bounded():
    texts = [f"to_{n}.s" for n in range(CACHE_MOST + 1)]
    accounts = known(*texts)
    authenticator = Authenticator(accounts)
    for text in texts:
        await authenticator.authenticate(text)
    await authenticator.authenticate(texts[-1])
    assert accounts.asked == CACHE_MOST + 1
    await authenticator.authenticate(texts[0])
    assert accounts.asked == CACHE_MOST + 2


def test_a_model_outside_of_the_scopes_does_not_exist():
    caller = Principal("acme", "k", models=("main", "ex*"))
    caller.require("expert")
    with pytest.raises(ModelNotFoundError):
        caller.require("other")


@pytest.mark.parametrize(
    ("token", "text", "same"), [("t0k", "t0k", True), ("t0k", "t0", False), (None, "", False), ("ä", "ä", True)]
)
async def test_only_the_token_is_the_token(token, text, same):
    with nullcontext() if same else pytest.raises(ForbiddenError, match="administrator's token"):
        assert await AdminTokens(token).admit(text, Action("create", "keys", "acme")) == "admin"


def test_a_secret_file_is_read_without_its_line_end(tmp_path):
    file = tmp_path / "token"
    file.write_text("t0k\n")
    file.chmod(0o600)
    assert read_secret_file(file) == "t0k"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_file_that_others_can_read_is_refused_without_its_content(tmp_path, mode):
    file = tmp_path / "token"
    file.write_text("t0k")
    file.chmod(mode)
    with pytest.raises(InvalidRequestError) as caught:
        read_secret_file(file)
    assert "chmod 600" in str(caught.value)
    assert "t0k" not in str(caught.value)


@pytest.mark.parametrize(("mode", "good"), [(0o440, True), (0o640, True), (0o660, False), (0o644, False)])
def test_a_mounted_secret_may_be_read_by_the_group_of_the_pod(tmp_path, mode, good):
    file = tmp_path / "token"
    file.write_text("t0k")
    file.chmod(mode)
    with nullcontext() if good else pytest.raises(InvalidRequestError):
        assert read_secret_file(file, mounted=True) == "t0k"


def test_an_empty_or_missing_secret_file_is_refused_by_name(tmp_path):
    file = tmp_path / "token"
    with pytest.raises(InvalidRequestError, match="token"):
        read_secret_file(file)
    file.touch(mode=0o600)
    with pytest.raises(InvalidRequestError, match="empty"):
        read_secret_file(file)
