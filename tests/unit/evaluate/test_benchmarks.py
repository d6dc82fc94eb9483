"""Loaders of benchmarks read files of the published schemas (made up here) and name what is wrong with others."""

import json
import re

import pytest

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.training.evaluate.benchmarks.questions import load_frames, load_hle
from toolorchestra.training.evaluate.benchmarks.tau2 import GoldenAction, load_tau2
from toolorchestra.training.evaluate.errors import InvalidBenchmarkError

HLE = {
    "id": "h1", "question": "Which letter comes after A?\nAnswer Choices:\nA. C\nB. B", "image": "", "image_preview": None,
    "answer": "B", "answer_type": "multipleChoice", "author_name": "nobody", "rationale": "It does.", "rationale_image": None,
    "raw_subject": "Alphabets", "category": "Other", "canary": "keep out",
}  # fmt: skip
FRAMES = {"id": "wiki____0", "question": "How many moons has the planet of the film?", "answer": "Two"}
TAU2 = {
    "id": 3,
    "description": {"purpose": "made up", "relevant_policies": None, "notes": None},
    "user_scenario": {
        "persona": None,
        "instructions": {
            "domain": "library", "reason_for_call": "You want your book back.", "known_info": "You are Ada.",
            "unknown_info": None, "task_instructions": "Be brief.",
        },
    },
    "initial_state": None,
    "evaluation_criteria": {
        "actions": [
            {"action_id": "3_0", "name": "return_book", "arguments": {"book": "B-1"}, "info": None},
            {"action_id": "3_1", "requestor": "user", "name": "sign", "arguments": {}},
        ],
        "communicate_info": ["12"], "nl_assertions": None, "reward_basis": ["DB", "COMMUNICATE"],
    },
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def written(*records, name="data.jsonl"):
        path = tmp_path / name
        path.write_text("".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records))
        return path

    return written


def test_hle_is_read_without_what_marks_it(write):
    free = HLE | {"id": "h2", "answer": "a long word", "answer_type": "exactMatch", "category": "Math"}
    picture = HLE | {"id": "h3", "image": "data:image/png;base64,xx"}
    found = load_hle(write(HLE, free, picture))
    assert [(q.id, q.grader, q.topic, q.cluster) for q in found.questions] == [
        ("h1", "choice", "Other", "h1"),
        ("h2", "judge", "Math", "h2"),
    ]
    assert found.skipped == {"needs an image": 1}
    assert "keep out" not in found.model_dump_json()


def test_frames_on_the_same_documents_are_one_cluster(write):
    links = ["https://example.org/a", "https://example.org/b"]
    same = [FRAMES | {"id": n, "wiki_links": links[::step]} for n, step in ((1, 1), (2, -1))]
    first, second, third = load_frames(write(*same, FRAMES)).questions
    assert first.cluster == second.cluster
    assert third.cluster == third.id == "wiki____0"
    assert third.grader == "judge"


TSV = """\tPrompt\tAnswer\twikipedia_link_1\twikipedia_link_11+\treasoning_types\twiki_links
0\tHow many moons has it?\tTwo\thttps://example.org/a\t\tNumerical reasoning | Tabular reasoning\t['https://example.org/a', "https://example.org/b's"]
1\t"It ""says"":
what?"\t"1\t2"\t\t\tMultiple constraints\t['https://example.org/a']
"""


@pytest.mark.parametrize("index", [True, False])
def test_frames_is_read_as_it_is_published(tmp_path, index):
    path = tmp_path / "test.tsv"
    path.write_text(TSV if index else re.sub(r"^[01]?\t", "", TSV, flags=re.MULTILINE))
    first, second = load_frames(path).questions
    assert (first.id, first.text, first.reference, first.topic) == ("0", "How many moons has it?", "Two", "Numerical reasoning")
    assert (second.id, second.text, second.reference) == ("1", 'It "says":\nwhat?', "1\t2")
    assert first.cluster != second.cluster


def test_frames_under_its_published_names_may_be_json_lines_too(write):
    links = ["https://example.org/a", "https://example.org/b"]
    named = {"Prompt": "How many?", "Answer": "Two", "reasoning_types": ["Numerical reasoning", "Tabular reasoning"]}
    path = write(named | {"wiki_links": str(links)}, named | {"Unnamed: 0": 7, "wiki_links": links[::-1]})
    first, second = load_frames(path).questions
    assert (first.id, second.id, first.topic) == ("0", "7", "Numerical reasoning")
    assert first.cluster == second.cluster


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Prompt\tAnswer\nWhy?\n", "line 2: Answer: must be text"),
        ("Prompt\tAnswer\nWhy?\tSo\tmore\n", "line 2, columns: there are more than the first line names"),
        ('Prompt\tAnswer\nWhy?\tSo\n"Why\n', "line 3, columns: not a row of a table"),
        ("Question\tAnswer\nWhy?\tSo\n", "line 2: Prompt: required; add it (each record needs at least `Prompt` or `question`"),
        ("Prompt\tAnswer\twiki_links\nWhy?\tSo\thttps://a\n", "line 2: wiki_links: expected a list, or its text"),
        ("Prompt\tAnswer\n", "holds no records"),
    ],
)
def test_another_table_is_named_by_line_and_column(tmp_path, text, said):
    path = tmp_path / "test.tsv"
    path.write_text(text)
    with pytest.raises(InvalidBenchmarkError) as caught:
        load_frames(path)
    assert said in str(caught.value)


def test_tau2_is_read_as_one_array(write):
    path = write(json.dumps([TAU2, TAU2 | {"id": "four"}], indent=2), name="tasks.json")
    task, other = load_tau2(path)
    assert (task.id, task.domain, task.opening, task.known, task.communicate) == (
        "3", "library", "You want your book back.", "You are Ada.", ("12",),
    )  # fmt: skip
    assert task.golden == (
        GoldenAction(name="return_book", arguments={"book": "B-1"}),
        GoldenAction(name="sign", arguments={}, by_user=True),
    )
    assert task.checkable
    assert other.cluster == "library/four"


def test_tau2_takes_plain_instructions_and_the_folder_as_domain(write, tmp_path):
    plain = TAU2 | {"user_scenario": {"instructions": "Ask for help."}, "evaluation_criteria": None}
    (task,) = load_tau2(write(plain))
    assert (task.instructions, task.opening, task.domain) == ("Ask for help.", "", tmp_path.name)
    assert task.reward_basis == ("DB", "COMMUNICATE")
    assert not task.checkable


@pytest.mark.parametrize(
    ("load", "where"),
    [
        (load_hle, "cais/hle on Hugging Face"),
        (load_frames, "google/frames-benchmark"),
        (load_tau2, "sierra-research/tau2-bench"),
    ],
)
def test_a_missing_file_says_where_it_is_offered(load, where, tmp_path):
    with pytest.raises(InvalidRequestError) as caught:
        load(tmp_path / "nothing.jsonl")
    assert "nothing.jsonl" in str(caught.value)
    assert where in str(caught.value)


WITHOUT_NAME = TAU2 | {"evaluation_criteria": {"actions": [{"action_id": "x", "arguments": {}}]}}


@pytest.mark.parametrize(
    ("load", "records", "said"),
    [
        (load_hle, [HLE, {"id": "h2", "question": "?"}], "line 2: answer: required; add it; answer_type: required; add it"),
        (load_hle, [FRAMES], "line 1: answer_type: required; add it (each record needs at least `id`, `question`, `answer`"),
        (load_hle, [HLE | {"answer_type": "essay"}], "line 1: answer_type: must be 'exactMatch' or 'multipleChoice'"),
        (load_hle, [HLE | {"answer": "Paris"}], "line 1, answer: expected a letter for multipleChoice, found 'Paris'"),
        (load_hle, [HLE, HLE], "line 2, id: 'h1' stands on line 1 already"),
        (load_frames, [FRAMES | {"question": ""}], "line 1: question: must not be empty"),
        (load_frames, [FRAMES | {"answer": 7}], "line 1: answer: must be text"),
        (load_frames, ["id,question,answer"], "line 1: not valid JSON"),
        (load_frames, [FRAMES, "{"], "line 2: not valid JSON"),
        (load_frames, [["a"]], "line 1: "),
        (load_frames, [], "holds no records"),
        (load_frames, ["version https://git-lfs.github.com/spec/v1"], "is a Git LFS pointer"),
        (load_tau2, [WITHOUT_NAME], "line 1: evaluation_criteria.actions.0.name: required"),
        (load_tau2, [{"id": 1}], "line 1: user_scenario: required; add it; evaluation_criteria: required; add it"),
        (load_tau2, [TAU2, TAU2], "line 2, id: '3' stands on line 1 already"),
    ],
)
def test_another_schema_is_named_by_file_line_and_field(load, records, said, write):
    path = write(*records)
    with pytest.raises(InvalidBenchmarkError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_lines_are_counted_inside_an_array(write):
    path = write(json.dumps([TAU2, {"id": 1}], indent=1), name="tasks.json")
    line = next(n for n, text in enumerate(path.read_text().splitlines(), start=1) if text == " {" and n > 2)
    with pytest.raises(InvalidBenchmarkError, match=f"line {line}: user_scenario"):
        load_tau2(path)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "hle.parquet"
    path.write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(InvalidBenchmarkError, match="is not text in UTF-8"):
        load_hle(path)
