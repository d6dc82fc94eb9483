"""What simulated experts do does not depend on how a process hashes texts: one seed is one report, on every machine."""

import os
import subprocess
import sys

from toolorchestra.training.toolscale.building import build_domain, write_domain
from toolorchestra.training.toolscale.domain import find_domain

PLANS = """
import sys
from random import Random
from toolorchestra.worlds.loading import load_tasks, load_world
from toolorchestra.worlds.simulation.cases import Case
from toolorchestra.worlds.simulation.drawing import Draw, Fault
from toolorchestra.worlds.simulation.planning import make_plan

world = load_world(sys.argv[1])
for task in load_tasks(sys.argv[1]):
    case = Case(task, world)
    for step in case.writes:
        draw = Draw(right=False, probability=0.5, fault=Fault.MUTATED, step=step)
        for seed in range(8):
            plan = make_plan(case, draw, Random(seed))
            print(plan.forms, plan.facts)
"""


def test_mistakes_are_the_same_in_processes_that_hash_differently(tmp_path):
    write_domain(build_domain(find_domain("ecommerce"), seed=3, count=80), tmp_path)
    said = [
        subprocess.run(
            [sys.executable, "-c", PLANS, str(tmp_path / "ecommerce")],
            env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True, timeout=100,
        ).stdout
        for seed in ("1", "2", "3")
    ]  # fmt: skip
    assert said[0]
    assert said[0] == said[1] == said[2]
