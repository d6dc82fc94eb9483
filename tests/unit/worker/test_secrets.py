"""Secrets from folders: new values without a restart, broken ones without harm to others."""

from pathlib import Path

import pytest

from toolorchestra.core.errors import NotFoundError
from toolorchestra.worker.storage.secrets import FolderSecrets

GOOD = "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: acme}}\nstringData: {{key: {value}}}\n"


async def test_a_changed_value_is_read_again(tmp_path: Path):
    file = tmp_path / "secret.yaml"
    file.write_text(GOOD.format(name="api", value="first"))
    secrets = FolderSecrets([tmp_path])
    assert await secrets.read("acme", "api", "key") == "first"

    file.write_text(GOOD.format(name="api", value="another"))

    assert await secrets.read("acme", "api", "key") == "another"


async def test_a_broken_secret_does_not_hide_the_others(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: broken}\ndata: {key: '***'}\n")
    (tmp_path / "b.yaml").write_text(GOOD.format(name="api", value="good"))

    assert await FolderSecrets([tmp_path]).read("acme", "api", "key") == "good"


async def test_a_missing_secret_says_how_to_provide_it(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"stringData\.key"):
        await FolderSecrets([tmp_path]).read("acme", "api", "key")


async def test_a_folder_that_appears_later_is_found(tmp_path: Path):
    secrets = FolderSecrets([tmp_path / "later"])
    with pytest.raises(NotFoundError):
        await secrets.read("acme", "api", "key")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "s.yaml").write_text(GOOD.format(name="api", value="late"))

    assert await secrets.read("acme", "api", "key") == "late"
