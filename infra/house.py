"""The house in figures: lengths of functions and modules, typing, broad excepts, patches per test. Fails beyond the limits.

usage: python infra/house.py [FOLDER]
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_FUNCTION_MEDIAN = 12
MAX_MODULE_LINES = 500
MIN_TYPED = 1.0
MAX_BROAD_EXCEPTS = 0.10
MAX_PATCHES_PER_TEST = 0.2
PATCHES = ("MagicMock", "AsyncMock", "mocker.patch", "monkeypatch.setattr", "mock.patch")
SKIPPED = {"build", "dist", "node_modules"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Figures:
    """What was counted; lengths are lines."""

    functions: list[tuple[int, str]] = field(default_factory=list)
    modules: list[tuple[int, str]] = field(default_factory=list)
    untyped: list[str] = field(default_factory=list)
    annotations: int = 0
    handlers: int = 0
    broad: int = 0
    tests: int = 0
    patches: int = 0

    @property
    def median(self) -> float:
        return statistics.median(length for length, _ in self.functions) if self.functions else 0

    @property
    def typed(self) -> float:
        return 1 - len(self.untyped) / max(1, self.annotations)

    @property
    def broad_share(self) -> float:
        return self.broad / max(1, self.handlers)

    @property
    def patches_per_test(self) -> float:
        return self.patches / max(1, self.tests)


def measure(root: Path) -> Figures:
    """Count over all Python files below a folder, apart from hidden and built ones."""
    figures = Figures()
    for path in sources(root):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        name = path.relative_to(root)
        if "tests" in name.parts:
            measure_tests(tree, figures)
        else:
            measure_code(tree, str(name), figures)
            figures.modules.append((len(path.read_text(encoding="utf-8").splitlines()), str(name)))
    return figures


def sources(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not any(part.startswith(".") or part in SKIPPED for part in parts):
            yield path


def measure_tests(tree: ast.Module, figures: Figures) -> None:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            figures.tests += node.name.startswith("test")
        elif isinstance(node, ast.Call):
            figures.patches += ast.unparse(node.func).endswith(PATCHES)


def measure_code(tree: ast.Module, name: str, figures: Figures) -> None:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            figures.functions.append(((node.end_lineno or node.lineno) - node.lineno + 1, f"{name}:{node.name}"))
            measure_typing(node, f"{name}:{node.lineno} {node.name}", figures)
        elif isinstance(node, ast.ExceptHandler):
            figures.handlers += 1
            figures.broad += is_broad(node.type)


def measure_typing(function: Function, name: str, figures: Figures) -> None:
    spec = function.args
    extra = [argument for argument in (spec.vararg, spec.kwarg) if argument]
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *extra]
    annotations = [argument.annotation for argument in named if argument.arg not in ("self", "cls")]
    annotations.append(function.returns)
    figures.annotations += len(annotations)
    figures.untyped.extend(name for annotation in annotations if annotation is None)


def is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(is_broad(one) for one in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in ("Exception", "BaseException"))


def verdicts(figures: Figures) -> Iterator[tuple[bool, str]]:
    """Each rule: whether it holds, and the figure."""
    longest = max(figures.modules, default=(0, "none"))
    yield figures.median <= MAX_FUNCTION_MEDIAN, f"functions: median {figures.median:g} lines (limit {MAX_FUNCTION_MEDIAN})"
    yield longest[0] <= MAX_MODULE_LINES, f"modules: longest {longest[0]} lines, {longest[1]} (limit {MAX_MODULE_LINES})"
    yield figures.typed >= MIN_TYPED, f"typed: {figures.typed:.1%}; untyped: {', '.join(figures.untyped[:5]) or 'none'}"
    yield (
        figures.broad_share <= MAX_BROAD_EXCEPTS,
        f"broad excepts: {figures.broad_share:.0%} of {figures.handlers} (limit 10%)",
    )
    yield (
        figures.patches_per_test <= MAX_PATCHES_PER_TEST,
        f"patches per test: {figures.patches_per_test:.2f} of {figures.tests} tests (limit {MAX_PATCHES_PER_TEST})",
    )


def main(root: str = ".") -> int:
    results = list(verdicts(measure(Path(root).resolve())))
    for holds, text in results:
        print(f"{'ok  ' if holds else 'FAIL'} {text}")
    return 0 if all(holds for holds, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
