"""The figures of learning in docs/benchmarks.md: ``python -m tests.training.study OUT [--seeds 3]``.

Trains by the example's settings from the shipped seed, and from one that asks the strongest expert 99.9 % of the time, with
and without exploration. Each run leaves its folder; a line of JSON per run says what it came to, and ``curves.svg`` shows all.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
import yaml

from toolorchestra.core.pages import css
from toolorchestra.training.grpo.assembly import grouping_of
from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.curves import HEIGHT, WIDTH, Curve, curve_svg
from toolorchestra.training.grpo.gating import route_score
from toolorchestra.training.grpo.launching import own_command
from toolorchestra.training.grpo.report_page import METRICS, REPORT
from toolorchestra.training.grpo.rollouts import Engine
from toolorchestra.training.grpo.settings import GateSettings, ModelSettings, TrainingSettings, check_settings
from toolorchestra.training.grpo.tiny.probing import expert_share, probe
from toolorchestra.training.grpo.tiny.routes import Draw, Family
from toolorchestra.training.grpo.tiny.seeding import lean_seed
from toolorchestra.training.grpo.tiny.staging import oracle

EXAMPLE: Final = Path("training-jobs/grpo/examples/tiny.yaml")
EXPERT: Final = 0.999
EXPERT_STEPS: Final = 160
SMOOTHED: Final = 5  # steps
COLUMNS: Final = 3
COLOURS: Final = {"back": "#fff", "ink": "#1b1f24", "soft": "#59636e", "line": "#d6dbe1", "accent": "#0a5fb4"}


def plans(seeds: int, leaning: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of runs, and their settings."""
    base = yaml.safe_load(EXAMPLE.read_text())
    for seed in range(seeds):
        yield f"seed-{seed}", {**base, "seed": seed}
    longer = {**base["optimiser"], "steps": EXPERT_STEPS, "minutes": 20}
    always_published = {"solved_below_oracle": 1.0, "cost_over_oracle": 1_000.0}
    lean = {
        **base,
        "model": {"path": str(leaning)},
        "tasks": {**base["tasks"], "lone_expert": True},
        "optimiser": longer,
        "gate": {**base["gate"], **always_published},
    }
    for seed in range(seeds):
        yield f"expert-{seed}", {**lean, "seed": seed}
        yield f"unexplored-{seed}", {**lean, "seed": seed, "rollout": {**base["rollout"], "explored": 0.0}}


def figures(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Of one run, which is started as a user starts it."""
    settings = check_settings(document, where=str(folder))
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(document))
    subprocess.run(own_command([str(file), "--out", str(folder)]), check=False, stdout=sys.stderr)
    report = json.loads((folder / REPORT).read_text())
    found = {name: report[name] for name in ("steps", "seconds", "reasons", "before", "after")}
    if report["model"] is not None and settings.gate is not None:
        engine = engine_of(settings, report["model"])
        found["probes"] = probe(engine, settings.gate.seed).document()
        found["one_expert"] = one_expert(engine, settings.gate)
    kept = [json.loads(line)["kept_groups"] for line in (folder / METRICS).read_text().splitlines()]
    return {**found, "kept_groups": fmean(kept)}


def one_expert(engine: Engine, gate: GateSettings) -> dict[str, Any]:
    """The score on unseen lists with one expert of rare things; the shares of it and of the oracle that go to that expert."""
    lists = Draw(gate.seed, held_out=True, lone_expert=True)
    score = route_score(engine, lists, gate.tasks).document()
    best = [oracle(lists.task(number)).family for number in range(gate.tasks)]
    return {**score, "share": expert_share(engine, lists), "oracle_share": best.count(Family.RARE) / gate.tasks}


def engine_of(settings: TrainingSettings, folder: str) -> Engine:
    """Plays by a model that was made."""
    return grouping_of(settings, load(ModelSettings(path=folder))).engine


def lean(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the seed that asks the expert; what it comes to."""
    lean_seed(Path(yaml.safe_load(EXAMPLE.read_text())["model"]["path"]), folder, EXPERT)
    settings = check_settings(document, where="the seed that asks the expert")
    return one_expert(engine_of(settings, str(folder)), settings.gate or GateSettings())


def smoothed(folder: Path) -> list[tuple[int, float]]:
    """The share of episodes that were right, by step: means of so many steps."""
    solved = [json.loads(line)["solved"] for line in (folder / METRICS).read_text().splitlines()]
    return [(step, fmean(solved[max(0, step - SMOOTHED) : step])) for step in range(1, len(solved) + 1)]


def picture(folders: Sequence[Path]) -> str:
    """A curve per run beside each other, as a file of its own."""
    rules = "".join(line for line in css().splitlines() if line.startswith((".grid", ".tick", ".line")))
    for name, colour in COLOURS.items():
        rules = rules.replace(f"var(--{name})", colour)
    rows = -(-len(folders) // COLUMNS)
    body = [f'<rect width="100%" height="100%" fill="{COLOURS["back"]}"/>']
    for number, folder in enumerate(folders):
        drawn = curve_svg(Curve(f"{folder.name}: solved", smoothed(folder), lambda share: f"{share:.0%}"))
        x, y = WIDTH * (number % COLUMNS), HEIGHT * (number // COLUMNS)
        body.append(drawn.replace("<svg ", f'<svg x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" ', 1))
    size = f'width="{WIDTH * min(COLUMNS, len(folders))}" height="{HEIGHT * rows}"'
    style = f"<style>svg{{font:12px system-ui,sans-serif}}{rules}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(body)}</svg>\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="runs whose names begin so")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    leaning = options.out / "leaning"
    played: list[Path] = []
    for name, document in plans(options.seeds, leaning):
        if name.startswith(options.only):
            if document["model"]["path"] == str(leaning) and not leaning.exists():
                print(json.dumps({"run": "leaning", "one_expert": lean(document, leaning)}), flush=True)
            found = figures(document, options.out / name)
            print(json.dumps({"run": name, **found}), flush=True)
            played.append(options.out / name)
    (options.out / "curves.svg").write_text(picture(played))


if __name__ == "__main__":
    main()
