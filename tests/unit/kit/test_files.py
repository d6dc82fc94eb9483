import asyncio
import textwrap
from dataclasses import replace

import pytest

from toolorchestra.core.registry import LATENCY, Catalog, DiscoveredOperation, Observation, Registry
from toolorchestra.kit.files import FileRegistry


def tool(name: str, *, description: str = "Adds.", namespace: str = "default") -> str:
    return textwrap.dedent(f"""\
        apiVersion: toolorchestra.dev/v1alpha1
        kind: Tool
        metadata: {{name: {name}, namespace: {namespace}}}
        spec:
          description: {description}
          plugin: {{name: calculator}}
    """)


SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {api-key: s3cr3t}\n"
READY = Observation(
    ready=True,
    reason="Ready",
    operations=(DiscoveredOperation(name="op", description="d", parameters={"type": "object"}, schema_hash="h"),),
)


@pytest.fixture
def manifests(tmp_path):
    """Writes manifest files into a folder: name=text."""
    folder = tmp_path / "manifests"
    folder.mkdir()

    def write(name: str, text: str):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    write.folder = folder
    return write


def names(catalog: Catalog) -> list[str]:
    return sorted(name for _, name in catalog.tools)


def test_all_manifests_below_a_folder_are_read(manifests):
    manifests("a.yaml", tool("a") + "---\n" + tool("b"))
    manifests("deep/er/c.yml", tool("c"))
    manifests("notes.txt", "not a manifest")
    manifests(".hidden/d.yaml", tool("d"))
    registry: Registry = FileRegistry([manifests.folder])
    assert names(registry.catalog()) == ["a", "b", "c"]
    assert registry.catalog().problems == ()


def test_the_same_name_may_be_used_in_two_namespaces_but_not_twice_in_one(manifests):
    manifests("1.yaml", tool("a", description="First."))
    manifests("2.yaml", tool("a", description="Second."))
    manifests("3.yaml", tool("a", namespace="team"))
    catalog = FileRegistry([manifests.folder]).catalog()
    assert catalog.tools["default", "a"].spec.description == "First."
    assert ("team", "a") in catalog.tools
    (problem,) = catalog.problems
    assert problem.source.endswith("2.yaml")
    assert "Tool 'a' in namespace 'default' is already defined in" in problem.message
    assert "1.yaml; rename or remove one" in problem.message


def test_a_file_that_lies_in_two_given_folders_is_read_once(manifests):
    manifests("deep/a.yaml", tool("a"))
    catalog = FileRegistry([manifests.folder, manifests.folder / "deep"]).catalog()
    assert (names(catalog), catalog.problems) == (["a"], ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "not valid YAML"),
        (tool("a") + "  colour: red\n", "spec.colour: unknown field"),
        (tool("a") + "  http: {url: http://localhost/x}\n", "exactly one of http"),
        ("just text", "must be a mapping"),
        (tool("a").replace("kind: Tool", "kind: Tol"), "kind 'Tol'"),
        (tool("a").encode("utf-16").decode("latin-1"), "not valid YAML"),
    ],
)
def test_a_broken_file_is_a_problem_that_names_it_and_the_others_go_on(manifests, text, said):
    manifests("broken.yaml", text)
    manifests("good.yaml", tool("good"))
    catalog = FileRegistry([manifests.folder]).catalog()
    assert "good" in names(catalog)
    (problem,) = catalog.problems
    assert problem.source.startswith(str(manifests.folder / "broken.yaml"))
    assert said in problem.message


def test_bytes_that_are_not_text_are_a_problem(manifests):
    manifests("broken.yaml", "").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in FileRegistry([manifests.folder]).catalog().problems[0].message


def test_a_document_beside_a_broken_one_counts(manifests):
    manifests("mixed.yaml", tool("good") + "---\nkind: Tol\n---\n" + tool("fine"))
    catalog = FileRegistry([manifests.folder]).catalog()
    assert names(catalog) == ["fine", "good"]
    assert catalog.problems[0].source.endswith("mixed.yaml, document 2")


def test_a_folder_that_does_not_exist_is_a_problem(tmp_path):
    (problem,) = FileRegistry([tmp_path / "missing"]).catalog().problems
    assert problem.source.endswith("missing")
    assert "does not exist" in problem.message


async def test_the_usual_folder_may_come_later_and_is_read_then(tmp_path):
    folder = tmp_path / "manifests"
    async with FileRegistry([folder], poll_ms=50) as registry, asyncio.timeout(10):
        assert registry.catalog().problems == ()
        folder.mkdir()
        (folder / "broken.yaml").write_text("kind: [")
        (problem,) = (await registry.changed(registry.version)).problems
    assert problem.source.endswith("broken.yaml")
    assert "broken.yaml" not in problem.message


def test_secrets_are_collected_apart_and_are_no_problem(manifests):
    manifests("a.yaml", SECRET + "---\n" + tool("a"))
    registry = FileRegistry([manifests.folder])
    assert [document["stringData"] for document in registry.secret_documents] == [{"api-key": "s3cr3t"}]
    assert (names(registry.catalog()), registry.catalog().problems) == (["a"], ())


async def test_a_change_is_a_new_version_and_no_change_is_not(manifests):
    manifests("a.yaml", tool("a"))
    registry = FileRegistry([manifests.folder])
    await registry.reload()
    assert registry.version == 1
    manifests("b.yaml", tool("b"))
    await registry.reload()
    assert (registry.version, names(registry.catalog())) == (2, ["a", "b"])
    (manifests.folder / "a.yaml").unlink()
    await registry.reload()
    assert (registry.version, names(registry.catalog())) == (3, ["b"])


@pytest.mark.parametrize("broken", ["a: [1", tool("a") + "  colour: red\n", "kind: Tol\n"])
async def test_what_a_file_last_said_is_used_until_it_is_mended(manifests, broken):
    manifests("a.yaml", tool("a", description="Old."))
    registry = FileRegistry([manifests.folder])
    for _ in range(2):
        manifests("a.yaml", broken)
        await registry.reload()
        assert registry.catalog().tools["default", "a"].spec.description == "Old."
    assert any(word in registry.catalog().problems[0].message for word in ("last good version", "still used"))
    manifests("a.yaml", tool("a", description="New."))
    await registry.reload()
    assert registry.catalog().tools["default", "a"].spec.description == "New."
    assert registry.catalog().problems == ()


async def test_only_the_broken_object_of_a_file_stays_as_it_was(manifests):
    manifests("a.yaml", tool("a") + "---\n" + tool("b") + "---\n" + tool("gone"))
    registry = FileRegistry([manifests.folder])
    manifests("a.yaml", tool("a", description="New.") + "---\n" + tool("b") + "  colour: red\n")
    await registry.reload()
    assert names(registry.catalog()) == ["a", "b"]
    assert registry.catalog().tools["default", "a"].spec.description == "New."


async def test_a_waiter_wakes_on_the_next_version(manifests):
    registry = FileRegistry([manifests.folder])
    waiting = asyncio.create_task(registry.changed(registry.version))
    await asyncio.sleep(0)
    assert not waiting.done()
    manifests("a.yaml", tool("a"))
    await registry.reload()
    assert names(await asyncio.wait_for(waiting, 1)) == ["a"]
    assert (await registry.changed(since=1)).version == 2


async def test_the_watcher_sees_files_written_changed_and_removed(manifests):
    async with FileRegistry([manifests.folder]) as registry, asyncio.timeout(10):
        path = manifests("a.yaml", tool("a"))
        assert names(await registry.changed(1)) == ["a"]
        manifests("a.yaml", tool("a", description="Changed at once."))
        assert (await registry.changed(2)).tools["default", "a"].spec.description == "Changed at once."
        path.unlink()
        assert names(await registry.changed(3)) == []


async def test_a_folder_that_appears_later_is_found(tmp_path):
    folder = tmp_path / "later"
    async with FileRegistry([folder], poll_ms=50) as registry, asyncio.timeout(10):
        folder.mkdir()
        assert (await registry.changed(1)).problems == ()
        (folder / "a.yaml").write_text(tool("a"))
        assert names(await registry.changed(2)) == ["a"]


def test_an_observation_stands_in_the_catalog_and_survives_a_restart(manifests, tmp_path):
    manifests("a.yaml", tool("a"))
    status = tmp_path / "state" / "status.json"
    registry = FileRegistry([manifests.folder], status_file=status)
    registry.observe({("Tool", "default", "a"): READY})
    assert registry.catalog().observed == {("Tool", "default", "a"): READY}
    assert registry.version == 2
    again = FileRegistry([manifests.folder], status_file=status)
    assert again.catalog().observed == {("Tool", "default", "a"): READY}


def test_the_same_observation_again_changes_nothing(manifests):
    manifests("a.yaml", tool("a"))
    registry = FileRegistry([manifests.folder])
    registry.observe({("Tool", "default", "a"): READY})
    registry.observe({("Tool", "default", "a"): READY})
    registry.observe({("Tool", "default", "a"): replace(READY, details={LATENCY: 5})})
    assert registry.version == 2


def test_what_is_observed_together_is_one_change(manifests):
    manifests("a.yaml", f"{tool('a')}---\n{tool('b')}")
    registry = FileRegistry([manifests.folder])
    registry.observe({("Tool", "default", name): READY for name in ("a", "b", "ghost")})
    assert registry.version == 2
    assert set(registry.catalog().observed) == {("Tool", "default", "a"), ("Tool", "default", "b")}


async def test_an_observation_ends_with_the_spec_it_was_made_of(manifests):
    manifests("a.yaml", tool("a"))
    registry = FileRegistry([manifests.folder])
    registry.observe({("Tool", "default", "a"): READY})
    manifests("a.yaml", tool("a", description="Another tool now."))
    await registry.reload()
    assert registry.catalog().observed == {}


def test_an_observation_of_something_that_is_not_there_is_passed_over(manifests):
    registry = FileRegistry([manifests.folder])
    registry.observe({("Tool", "default", "ghost"): READY})
    assert (registry.version, registry.catalog().observed) == (1, {})


@pytest.mark.parametrize("text", ["", "not json", "[{}]"])
def test_a_broken_status_file_is_started_anew(manifests, tmp_path, text):
    manifests("a.yaml", tool("a"))
    status = tmp_path / "status.json"
    status.write_text(text)
    registry = FileRegistry([manifests.folder], status_file=status)
    registry.observe({("Tool", "default", "a"): READY})
    assert FileRegistry([manifests.folder], status_file=status).catalog().observed


def test_a_link_to_nowhere_is_no_manifest(manifests):
    (manifests.folder / "a.yaml").symlink_to(manifests.folder / "nowhere")
    catalog = FileRegistry([manifests.folder]).catalog()
    assert (names(catalog), catalog.problems) == ([], ())


def test_a_file_far_too_large_is_a_problem(manifests):
    manifests("large.yaml", "#" * 4_000_001)
    assert "split it" in FileRegistry([manifests.folder]).catalog().problems[0].message
