"""The clinic of docs/howto/write-a-world.md is a world, as it is written there."""

import json
import re
from pathlib import Path

import pytest

from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.session import Session

PAGE = Path(__file__).resolve().parents[3] / "docs" / "howto" / "write-a-world.md"


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def clinic(tmp_path):
    (tmp_path / "world.yaml").write_text(block("yaml"))
    (tmp_path / "tools.py").write_text(block("python"))
    (tmp_path / "rows").mkdir()
    patient = {"patient_id": "PT-1", "email": "noor@post.example", "balance": 500}
    (tmp_path / "rows" / "patients.jsonl").write_text(json.dumps(patient) + "\n")
    (tmp_path / "rows" / "visits.jsonl").write_text("")
    return Session(load_world(tmp_path))


def test_its_tools_do_what_the_page_says(clinic):
    assert clinic.call("pay_in", {"patient_id": "PT-1", "amount": "20.00"}).content["balance"] == "25.00"
    visit = clinic.call("book_visit", {"patient_id": "PT-1", "begins": "2026-03-03T10:00", "reason": "cough"}).content
    assert clinic.call("list_visits", {"patient_id": "PT-1", "day": "2026-03-03"}).rows == {("visits", visit["visit_id"])}
    assert clinic.call("cancel_visit", {"visit_id": visit["visit_id"]}).ok
    assert clinic.call("cancel_visit", {"visit_id": visit["visit_id"]}).error_code == "not_booked"
    assert (
        clinic.call("book_visit", {"patient_id": "PT-1", "begins": "2026-01-03T10:00", "reason": "x"}).error_code
        == "in_the_past"
    )
