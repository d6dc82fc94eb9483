import pytest

from infra import house


@pytest.fixture
def figures(tmp_path):
    """Measures a tree of files: path=text."""

    def measure(**files: str) -> house.Figures:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.with_suffix(".py").parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".py").write_text(text)
        return house.measure(tmp_path)

    return measure


def failures(figures: house.Figures) -> list[str]:
    return [text.split(":")[0] for holds, text in house.verdicts(figures) if not holds]


def test_a_tidy_tree_passes(figures):
    assert failures(figures(a="def f(x: int, *, y: str = '') -> int:\n    return x\n")) == []


def test_long_functions_fail(figures):
    assert failures(figures(a="def f() -> None:\n" + "    pass\n" * 12)) == ["functions"]


def test_a_long_module_fails_and_is_named(figures):
    found = figures(a="\n" * 501)
    assert failures(found) == ["modules"]
    assert any("501 lines, a.py" in text for _, text in house.verdicts(found))


@pytest.mark.parametrize(
    "code", ["def f(x) -> None: ...", "def f(): ...", "def f(*a) -> None: ...", "class C:\n def f(self): ..."]
)
def test_a_missing_type_fails(figures, code):
    assert failures(figures(a=code)) == ["typed"]


def test_self_and_cls_need_no_type(figures):
    code = "class C:\n def f(self) -> None: ...\n @classmethod\n def g(cls) -> None: ..."
    assert failures(figures(a=code)) == []


@pytest.mark.parametrize("caught", ["", " Exception", " BaseException as e", " (ValueError, Exception)"])
def test_broad_excepts_fail(figures, caught):
    assert failures(figures(a=f"try:\n    pass\nexcept{caught}:\n    pass\n")) == ["broad excepts"]


def test_one_broad_except_in_ten_passes(figures):
    narrow = "try:\n    pass\nexcept ValueError:\n    pass\n"
    assert failures(figures(a=narrow * 9 + narrow.replace("ValueError", "Exception"))) == []


def test_patches_are_counted_per_test(figures):
    test = "def test_one(monkeypatch):\n    monkeypatch.setattr('a', 'b')\n"
    assert failures(figures(tests__test_a=test)) == ["patches per test"]
    assert failures(figures(tests__test_a=test + "def test_two(): ...\n" * 4)) == []


def test_hidden_and_built_files_are_not_measured(figures, tmp_path):
    assert failures(figures(**{".venv__a": "def f(): ...", "build__b": "def f(): ..."})) == []
