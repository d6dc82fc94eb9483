import pytest
from pydantic import Field, ValidationError

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.kit.settings import Group, Settings


class WorkerGroup(Group):
    threads: int = Field(default=4, ge=1)


class AppSettings(Settings):
    database_url: str = "postgresql:///db"
    worker: WorkerGroup = WorkerGroup()


@pytest.fixture
def environment(monkeypatch):
    return lambda **values: [monkeypatch.setenv(name, value) for name, value in values.items()]


def test_values_come_from_the_environment_and_groups_are_nested(environment):
    environment(TOOLORCHESTRA_DATABASE_URL="postgresql:///other", TOOLORCHESTRA_WORKER__THREADS="9")
    settings = AppSettings.load()
    assert (settings.database_url, settings.worker.threads) == ("postgresql:///other", 9)
    assert settings.log.level == "info"


def test_one_variable_of_a_group_leaves_the_others_at_their_defaults(environment):
    environment(TOOLORCHESTRA_LOG__LEVEL="debug")
    assert AppSettings.load().log.model_dump() == {"level": "debug", "format": "json"}


def test_given_values_win_over_the_environment(environment):
    environment(TOOLORCHESTRA_DATABASE_URL="postgresql:///other")
    assert AppSettings.load(database_url="postgresql:///given").database_url == "postgresql:///given"


def test_settings_do_not_change():
    settings = AppSettings.load()
    with pytest.raises(ValidationError):
        settings.database_url = "x"
    with pytest.raises(ValidationError):
        settings.worker.threads = 1


def test_a_bad_value_names_the_variable(environment):
    environment(TOOLORCHESTRA_WORKER__THREADS="0")
    with pytest.raises(InvalidRequestError, match=r"TOOLORCHESTRA_WORKER__THREADS: .*greater than or equal to 1"):
        AppSettings.load()


def test_an_unknown_key_in_a_group_is_refused(environment):
    environment(TOOLORCHESTRA_WORKER__THREADZ="3")
    with pytest.raises(InvalidRequestError, match="TOOLORCHESTRA_WORKER__THREADZ: unknown setting"):
        AppSettings.load()


def test_a_misspelt_variable_is_refused_with_the_right_one(environment):
    environment(TOOLORCHESTRA_DATABSE_URL="x")
    with pytest.raises(InvalidRequestError, match=r"TOOLORCHESTRA_DATABSE_URL \(did you mean TOOLORCHESTRA_DATABASE_URL"):
        AppSettings.load()


def test_a_variable_of_another_application_is_left_alone(environment):
    environment(TOOLORCHESTRA_CONSOLE_TITLE="x")
    assert AppSettings.load().database_url == "postgresql:///db"


def test_a_group_given_as_a_plain_value_is_explained(environment):
    environment(TOOLORCHESTRA_WORKER="many")
    with pytest.raises(InvalidRequestError, match="NAME__KEY"):
        AppSettings.load()


def test_what_the_environment_lacks_is_read_from_files(environment, tmp_path):
    (tmp_path / "TOOLORCHESTRA_DATABASE_URL").write_text("postgresql:///filed\n")
    environment(TOOLORCHESTRA_SECRETS_FOLDER=str(tmp_path))
    assert AppSettings.load().database_url == "postgresql:///filed"
    environment(TOOLORCHESTRA_DATABASE_URL="postgresql:///said")
    assert AppSettings.load().database_url == "postgresql:///said"


def test_a_missing_folder_of_secrets_is_named(environment):
    environment(TOOLORCHESTRA_SECRETS_FOLDER="/not/there")
    with pytest.raises(InvalidRequestError, match="TOOLORCHESTRA_SECRETS_FOLDER: /not/there is no folder"):
        AppSettings.load()
