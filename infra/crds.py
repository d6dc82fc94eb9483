"""Writes charts/toolorchestra-crds from the models in toolorchestra.core.resources.

usage: python infra/crds.py [--check]      (with --check nothing is written; it fails if a file is not what it would write)

The templates are valid YAML even before Helm reads them: what is for Helm stands in comments. So `kubectl apply` can take them.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from toolorchestra.core.crds import definitions

FOLDER: Final = Path(__file__).resolve().parents[1] / "charts" / "toolorchestra-crds" / "templates"
MADE: Final = "# Written by infra/crds.py; change toolorchestra.core.resources, then run `make crds`.\n"
KEEP: Final = "  annotations:\n    # {{- if .Values.keep }}\n    helm.sh/resource-policy: keep\n    # {{- end }}\n"


def templates() -> dict[str, str]:
    """File name → text, one file per kind."""
    return {f"{crd['metadata']['name'].split('.')[0]}.yaml": template(crd) for crd in definitions().values()}


def template(crd: dict[str, Any]) -> str:
    """A CustomResourceDefinition as a template of Helm. Raises ValueError if Helm would read its texts as code."""
    text = yaml.safe_dump(crd, sort_keys=False, allow_unicode=True, width=120)
    if "{{" in text:
        raise ValueError(f"{crd['metadata']['name']}: a text has {{{{, which Helm would read as code")
    name = f"  name: {crd['metadata']['name']}\n"
    return MADE + text.replace(name, name + KEEP, 1)


def stale(folder: Path = FOLDER) -> list[str]:
    """Names of the files that are not what they should be, or that belong to no kind."""
    wanted = templates()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(folder: Path = FOLDER) -> None:
    """Make the folder what it should be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale(folder):
        (folder / name).unlink(missing_ok=True)
    for name, text in templates().items():
        (folder / name).write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    if not parser.parse_args().check:
        write()
        return 0
    old = stale()
    for name in old:
        print(f"{FOLDER.name}/{name} is not what the models say; run make crds", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
