"""The chart of the CRDs is what the models say, small enough, and valid without Helm."""

import json
import re

import pytest
import yaml

from infra import crds
from toolorchestra.core.crds import definitions

CHART = crds.FOLDER.parent
MAX_BYTES = 256 * 1024


def test_the_chart_is_what_the_models_say():
    assert crds.stale() == [], "run make crds"


def test_a_changed_a_missing_and_a_forgotten_file_are_found_and_mended(tmp_path):
    crds.write(tmp_path)
    assert crds.stale(tmp_path) == []
    (tmp_path / "tools.yaml").write_text("kind: Other\n")
    (tmp_path / "expertmodels.yaml").unlink()
    (tmp_path / "planets.yaml").write_text("kind: Planet\n")
    assert crds.stale(tmp_path) == ["expertmodels.yaml", "planets.yaml", "tools.yaml"]
    crds.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(crds.templates())
    assert crds.stale(tmp_path) == []


def test_a_template_is_a_definition_as_it_stands_and_small():
    for name, text in crds.templates().items():
        crd = yaml.safe_load(text)
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd == definitions()[crd["spec"]["names"]["kind"]]
        assert len(text.encode()) < MAX_BYTES, name


def test_only_the_policy_is_for_helm():
    for text in crds.templates().values():
        assert re.findall(r"{{.*?}}", text) == ["{{- if .Values.keep }}", "{{- end }}"]


def test_a_text_that_helm_would_read_as_code_is_refused():
    crd = definitions()["Tool"]
    crd["spec"]["names"]["kind"] = "{{ .Values.kind }}"
    with pytest.raises(ValueError, match="Helm would read as code"):
        crds.template(crd)


def test_values_keep_the_definitions_and_their_schema_knows_them():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert values == {"keep": True}
    assert values.keys() <= schema["properties"].keys()
    assert schema["properties"]["keep"]["default"] is True
