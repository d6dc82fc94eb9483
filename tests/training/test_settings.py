"""What is wrong with a run is said before any compute is spent: the file, the field, the fix."""

import json
import re
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from toolorchestra.core.resources import TrainingRun
from toolorchestra.training.grpo.checkpoints import MANIFEST, load, publish
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.main import main
from toolorchestra.training.grpo.settings import ModelSettings, check_settings, read_settings

RUN = {"model": {"path": "seed"}, "tasks": {"kind": "routes"}}


def written(tmp_path, **changes):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**RUN, **changes}))
    return file


def test_a_short_file_is_a_whole_run(tmp_path):
    settings = read_settings(written(tmp_path))
    assert (settings.rollout.group_size, settings.rollout.explored, settings.form.value) == (8, 0.125, "reference")


def runs_in(text):
    found = [one for one in yaml.safe_load_all(text) if isinstance(one, dict) and one.get("kind") == "TrainingRun"]
    return [TrainingRun.model_validate(one) for one in found]


@pytest.mark.parametrize("file", sorted(Path("infra/examples/training").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_runs_of_example_manifests_are_whole(file):
    runs = runs_in(file.read_text())
    assert all(check_settings(run.spec.config, where=run.metadata.name).gate for run in runs)
    assert runs or file.stem == "serve"


def test_so_are_those_of_the_how_tos():
    blocks = re.findall(r"^```yaml\n(.*?)^```$", Path("docs/howto/jobs.md").read_text(), re.MULTILINE | re.DOTALL)
    runs = [run for block in blocks for run in runs_in(block)]
    assert [check_settings(run.spec.config, where=run.metadata.name).processes for run in runs] == [4]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"modle": {}}, "modle"),
        ({"rollout": {"explored": 1.5}}, "rollout.explored"),
        ({"rollout": {"group_size": 1}}, "rollout.group_size"),
        ({"tasks": {"kind": "routs"}}, "tasks: Input tag 'routs' found using 'kind'"),
        ({"tasks": {"kind": "worlds", "folders": []}}, "folders"),
        ({"tasks": {"kind": "worlds", "folders": ["w"], "held_out": ["train", "test"]}}, "held_out: 'train' is in split"),
        ({"processes": 0}, "processes"),
        ({"gate": {"tasks": 20}}, "gate.tasks"),
        ({"form": "best"}, "form"),
        ({"optimiser": {"micro_batch": 7}}, "optimiser.micro_batch"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, changes, field):
    with pytest.raises(InvalidRunError) as caught:
        read_settings(written(tmp_path, **changes))
    assert field in str(caught.value)
    assert "run.yaml" in str(caught.value)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(InvalidRunError, match="cannot be read"):
        read_settings(tmp_path / "nothing.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(InvalidRunError, match="is not YAML"):
        read_settings(tmp_path / "broken.yaml")


def test_a_missing_model_is_found_before_anything_is_trained(tmp_path, capsys):
    file = written(tmp_path, model={"path": str(tmp_path / "nowhere")})
    assert main([str(file), "--out", str(tmp_path / "out")]) == 2
    assert "model.path" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_format_is_refused(tmp_path, codec, random_model):
    folder = publish(random_model, codec.tokenizer, tmp_path / "model", {})
    assert load(ModelSettings(path=str(folder))).manifest["files"]
    stated = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**stated, "formatHash": "0123456789abcdef"}))
    with pytest.raises(InvalidRunError, match="policy format 0123456789abcdef"):
        load(ModelSettings(path=str(folder)))


def test_weights_that_a_checkpoint_lacks_are_not_drawn(tmp_path, codec, random_model):
    folder = publish(random_model, codec.tokenizer, tmp_path / "model", {})
    weights = load_file(folder / "model.safetensors")
    missing = weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidRunError, match=r"lacks the weights model\.layers\.0\.mlp\.up_proj\.weight"):
        load(ModelSettings(path=str(folder)))
    save_file({**weights, "model.layers.0.mlp.up_proj.weight": missing[:-1]}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InvalidRunError, match="cannot be loaded"):
        load(ModelSettings(path=str(folder)))


def test_broken_weights_are_named(tmp_path, codec, random_model):
    folder = publish(random_model, codec.tokenizer, tmp_path / "model", {})
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InvalidRunError, match="cannot be loaded"):
        load(ModelSettings(path=str(folder)))
