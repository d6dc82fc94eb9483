"""The plug-in on real folders: what it finds, that it notices changes, and what it says when something is missing."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import yaml

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError, UnavailableError
from toolorchestra.core.plugins import PluginContext
from toolorchestra.core.resources import Tool, parse_resource
from toolorchestra.tools.local_search.dense import load_embedder
from toolorchestra.tools.local_search.folders import find
from toolorchestra.tools.local_search.library import Library
from toolorchestra.tools.local_search.tool import LocalSearch, create

CONTEXT = PluginContext(call_id="c", tenant="t", timeout_ms=5_000, idempotency_key="k")


async def search(tool: LocalSearch, query: str, **arguments: Any) -> list[dict[str, Any]]:
    result = await tool.run({"query": query, **arguments}, CONTEXT)
    assert isinstance(result.content, list)
    return [dict(item) for item in result.content if isinstance(item, dict)]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> LocalSearch:
    """The tool as it is shipped, but for the place of its cache."""
    return create({"cache_dir": str(tmp_path_factory.mktemp("cache"))})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = tmp_path / "notes"
    documents.mkdir()
    (documents / "cats.md").write_text("# Cats\n\nCats sleep sixteen hours a day.\n")
    (documents / "dogs.txt").write_text("Dogs bark at the postman.")
    return documents


def own(folder: Path, **config: Any) -> LocalSearch:
    return create({"folders": [str(folder)], "cache_dir": str(folder.parent / "cache"), "refresh_seconds": 0} | config)


@pytest.mark.parametrize(
    ("question", "source", "words"),
    [
        ("What is the capital of France?", "corpus/geography/france.md", "Paris"),
        ("Who invented the telephone?", "corpus/history/telephone-and-radio.md", "Alexander Graham Bell"),
        ("What is the speed of light?", "corpus/science/speed-of-light.md", "299,792,458"),
        ("Who wrote War and Peace?", "corpus/history/literature.md", "Leo Tolstoy"),
        ("Which planet is the hottest?", "corpus/science/solar-system.md", "Venus"),
        ("When was Python released?", "corpus/computing/programming-languages.md", "1991"),
        ("What is a hold?", "corpus/toolorchestra/budgets-and-ledger.md", "reserved"),
        ("Which backends can a tool have?", "corpus/toolorchestra/tools.md", "openapi"),
    ],
)
async def test_questions_over_the_shipped_collection_find_their_passage(
    shipped: LocalSearch, question: str, source: str, words: str
) -> None:
    best = (await search(shipped, question))[0]
    assert best["source"] == source
    assert words in best["text"]
    assert best["confidence"] >= 0.55


@pytest.mark.parametrize(
    "question",
    [
        "hello",
        "how are you?",
        "Tell me a joke",
        "What is the best pizza recipe?",
        "Who is the CEO of Nvidia?",
        "blorgz frumple",
    ],
)
async def test_questions_about_something_else_find_nothing(shipped: LocalSearch, question: str) -> None:
    assert await search(shipped, question) == []


@pytest.mark.parametrize("question", ["What is the capital of Atlantis?", "Recommend a laptop", "Write a poem about autumn"])
async def test_a_chance_word_gives_little_confidence(shipped: LocalSearch, question: str) -> None:
    assert all(item["confidence"] < 0.55 for item in await search(shipped, question))


async def test_a_passage_has_its_fields_and_the_best_come_first(shipped: LocalSearch) -> None:
    found = await search(shipped, "highest mountain of Africa", limit=10)
    assert set(found[0]) == {"title", "source", "text", "score", "confidence"}
    assert [item["score"] for item in found] == sorted((item["score"] for item in found), reverse=True)
    assert all(0.2 <= item["confidence"] <= 1 for item in found)
    assert 1 < len(found) <= 10
    assert len(await search(shipped, "highest mountain of Africa")) <= 4


async def test_docs_means_the_products_own_pages() -> None:
    docs = create({"folders": ["docs"], "cache_dir": ""})
    assert (await search(docs, "How are budgets enforced?"))[0]["source"].startswith("docs/")
    assert await search(docs, "height of Mount Everest") == []


async def test_overlapping_folders_do_not_give_a_passage_twice() -> None:
    both = create({"folders": ["docs", "corpus"], "cache_dir": ""})
    texts = [item["text"] for item in await search(both, "What is a hold?", limit=10)]
    assert len(texts) == len(set(texts))


async def test_building_and_asking_are_fast(tmp_path: Path) -> None:
    tool = create({"cache_dir": str(tmp_path)})
    start = perf_counter()
    assert (await tool.check({})).ready
    assert perf_counter() - start < 2
    times = []
    for _ in range(20):
        start = perf_counter()
        await search(tool, "Who discovered penicillin?")
        times.append(perf_counter() - start)
    assert sorted(times)[10] < 0.05  # usually under a millisecond; the bound is for a busy machine


async def test_an_own_folder_is_searched(folder: Path) -> None:
    found = await search(own(folder), "How long do cats sleep?")
    assert [(item["title"], item["source"]) for item in found] == [("Cats", "notes/cats.md")]


async def test_added_changed_and_removed_documents_are_noticed(folder: Path) -> None:
    tool = own(folder)
    assert await search(tool, "ferrets") == []
    (folder / "ferrets.md").write_text("# Ferrets\n\nFerrets dance.\n")
    assert len(await search(tool, "ferrets")) == 1
    (folder / "ferrets.md").write_text("# Stoats\n\nStoats turn white in winter.\n")
    assert await search(tool, "ferrets") == []
    assert len(await search(tool, "stoats")) == 1
    (folder / "ferrets.md").unlink()
    assert await search(tool, "stoats") == []


async def test_changes_are_looked_for_only_now_and_then(folder: Path) -> None:
    now = [100.0]
    library = Library((str(folder),), cache=None, refresh_s=10, load_embedder=load_embedder, clock=lambda: now[0])
    tool = LocalSearch(library, min_confidence=0.2)
    await search(tool, "cats")
    (folder / "ferrets.md").write_text("Ferrets dance.")
    assert await search(tool, "ferrets") == []
    now[0] += 10
    assert len(await search(tool, "ferrets")) == 1


def test_an_index_is_kept_and_taken_up_by_the_next_process(folder: Path) -> None:
    def library() -> Library:
        return Library((str(folder),), cache=folder.parent / "cache", refresh_s=0, load_embedder=load_embedder)

    first, second = library().index(), library().index()
    assert (first.from_cache, second.from_cache) == (False, True)
    assert second.search("cats", 4) == first.search("cats", 4)
    (folder / "dogs.txt").write_text("Dogs bite the postman.")
    assert not library().index().from_cache


@pytest.mark.parametrize("damage", ["passages.json", "vocab.index.json", "data.csc.index.npy"])
def test_a_damaged_index_is_built_again(folder: Path, damage: str) -> None:
    def library() -> Library:
        return Library((str(folder),), cache=folder.parent / "cache", refresh_s=0, load_embedder=load_embedder)

    library().index()
    (victim,) = (folder.parent / "cache").glob(f"*/{damage}")
    victim.write_bytes(b"rubbish")
    again = library().index()
    assert not again.from_cache
    assert len(again.search("cats", 4)) == 1


async def test_a_cache_that_cannot_be_written_only_costs_time(folder: Path) -> None:
    blocked = folder.parent / "file"
    blocked.write_text("in the way")
    assert len(await search(own(folder, cache_dir=str(blocked / "cache")), "cats")) == 1


def test_hidden_binary_foreign_and_linked_files_are_left_out(folder: Path) -> None:
    outside = folder.parent / "outside.md"
    outside.write_text("# Secret")
    (folder / "link.md").symlink_to(outside)
    (folder / ".hidden.md").write_text("# Hidden")
    (folder / "program.py").write_text("print()")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.md").write_text("# Git")
    assert [file.source for file in find((str(folder),))] == ["notes/cats.md", "notes/dogs.txt"]


async def test_binary_and_badly_encoded_documents_do_no_harm(folder: Path) -> None:
    (folder / "binary.txt").write_bytes(b"\x00\x01cats" * 100)
    (folder / "latin.txt").write_bytes("Die Kätzchen schlafen viel".encode("latin-1"))
    assert [item["source"] for item in await search(own(folder), "schlafen")] == ["notes/latin.txt"]


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    tool = create({"folders": [str(tmp_path / "nowhere")], "cache_dir": ""})
    readiness = await tool.check({})
    assert (readiness.ready, readiness.reason) == (False, "IndexUnavailable")
    assert "nowhere" in readiness.message
    with pytest.raises(UnavailableError, match="nowhere"):
        await search(tool, "cats")


async def test_an_empty_folder_is_not_ready(tmp_path: Path) -> None:
    readiness = await create({"folders": [str(tmp_path)], "cache_dir": ""}).check({})
    assert (readiness.ready, readiness.reason) == (False, "NoDocuments")


async def test_readiness_counts_what_is_there(folder: Path) -> None:
    assert (await own(folder).check({})).details == {"documents": 2, "passages": 2, "dense": False}


@dataclass
class FailingEmbedder:
    calls: int = 0

    def __call__(self, name: str) -> Any:
        self.calls += 1
        raise UnavailableError(f"the embedding model {name!r} is not installed")


async def test_a_missing_embedding_model_is_not_ready_and_nothing_is_found_by_words_alone(folder: Path) -> None:
    library = Library((str(folder),), cache=None, refresh_s=0, embedding="some-model", load_embedder=FailingEmbedder())
    tool = LocalSearch(library, min_confidence=0.2)
    readiness = await tool.check({})
    assert not readiness.ready
    assert "some-model" in readiness.message
    with pytest.raises(UnavailableError):
        await search(tool, "cats")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "query"),
        ({"query": "  "}, "query"),
        ({"query": 5}, "query"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "limit": 11}, "limit"),
        ({"query": "x", "limit": True}, "limit"),
        ({"query": "x", "limit": "3"}, "limit"),
    ],
)
async def test_wrong_arguments_are_refused(shipped: LocalSearch, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=says):
        await shipped.run(arguments, CONTEXT)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"folder": "x"}, "unknown field"),
        ({"folders": []}, "folders"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"embedding": ""}, "embedding"),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidManifestError, match=says):
        create(config)


def test_the_manifest_is_valid_and_its_settings_are_taken() -> None:
    path = Path(__file__).parents[4] / "tools/local_search/tool.yaml"
    tool = parse_resource(yaml.safe_load(path.read_text()), source=path.name)
    assert isinstance(tool, Tool)
    assert tool.spec.capabilities == ["search"]
    assert tool.spec.plugin is not None
    assert isinstance(create(tool.spec.plugin.config), LocalSearch)
