"""Every reason that a condition can have stands in docs/howto/troubleshoot.md, and the page knows no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "howto" / "troubleshoot.md"
OPERATOR = ROOT / "operator" / "src" / "toolorchestra" / "operator"
SOURCES = [
    *sorted((OPERATOR / "services").glob("*.py")),
    OPERATOR / "plan.py",
    ROOT / "services" / "executors" / "src" / "toolorchestra" / "executors" / "probe.py",
    ROOT / "services" / "core" / "src" / "toolorchestra" / "core" / "sandbox.py",
    ROOT / "training-jobs" / "grpo" / "src" / "toolorchestra" / "training" / "grpo" / "job.py",
]
WORD = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")

# Words like a reason that are none: states, types of conditions of our own and of others, kinds, parts of what others write.
NO_REASONS = {
    *("True", "False", "Unknown", "Normal", "Warning"),
    *("Complete", "NearLimit", "SecretsReadable", "Sandboxed"),
    *("PodScheduled", "PredictorReady", "ReplicaFailure", "FailedCreate", "BlockedByFailedLoad"),
    "ToolScaleDataset",
    *("Tool", "ExpertModel", "Orchestrator", "BudgetPolicy", "Job", "Workload", "Deployment", "InferenceService"),
    *("ContainerCreating", "PodInitializing"),  # on the way: no reason of ours
    "ErrImagePull",  # told as ImagePullBackOff
}
# What KServe writes in so many words.
OTHERS = {"MinimumReplicasUnavailable"}


def reasons_in(source: Path) -> Iterator[str]:
    """All words that can be a reason; those put together at run time with each of their first halves."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    halves = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or not WORD.fullmatch(node.value):
            continue
        if node not in halves:
            yield node.value
        else:
            yield from (f"{role}{node.value}" for role in ("Policy", "Canary"))


def in_code() -> set[str]:
    return {reason for source in SOURCES for reason in reasons_in(source)} - NO_REASONS


def in_page() -> set[str]:
    """The third column of the table, and the line of those that are no fault."""
    text = PAGE.read_text(encoding="utf-8")
    cells = [line.split("|")[3] for line in text.splitlines() if line.startswith("| ")]
    good = re.search(r"^Nothing is wrong with: .*$", text, re.MULTILINE)
    assert good
    return set(re.findall(r"`(\w+)`", " ".join([*cells, good[0]])))


def test_every_reason_is_explained() -> None:
    assert sorted(in_code() - in_page()) == []


def test_no_reason_is_explained_that_nobody_gives() -> None:
    assert sorted(in_page() - in_code() - OTHERS) == []


def test_what_is_put_together_is_found_whole() -> None:
    assert {"PolicyNotReady", "CanaryNotFound", "NotPublished", "InvalidSpec", "NoSandboxWorker"} <= in_code()


def test_every_reason_of_a_misconfiguration_is_explained() -> None:
    cases = (ROOT / "tests" / "controlplane" / "misconfigurations" / "cases").glob("*/expected.yaml")
    told = {reason for case in cases for reason in re.findall(r"reason: (\w+)", case.read_text(encoding="utf-8"))}
    assert len(told) > 30
    assert sorted(told - in_page()) == []
