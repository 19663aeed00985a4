"""Render the chart with Helm itself and judge what comes of it; run by Python 3.12 or newer.

Takes one JSON document on standard input, `{"values": {...}, "versions": ["1.30", ...]}`, and
prints one: the manifests, and what strict validation against each version has to say of them. The
packages helm-python-sdk and kubernetes-validate must be there.
"""

import json
import sys
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "chart"
#: Kinds that are not Kubernetes' own, for which no schema comes along.
FOREIGN = ("ServiceMonitor", "PodMonitor")


def main() -> None:
    asked = json.load(sys.stdin)
    chart = helm_python.Chart.load(str(CHART))
    rendered = chart.render(values=asked["values"], name="demo")
    texts = rendered.values() if isinstance(rendered, dict) else [rendered]
    documents = [
        document
        for text in texts
        for document in yaml.safe_load_all(str(text))
        if isinstance(document, dict)
    ]
    problems = []
    for version in asked["versions"]:
        for document in documents:
            if document["kind"] in FOREIGN:
                continue
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{version}: {document['kind']}: {error.message}")
    json.dump({"documents": documents, "problems": problems}, sys.stdout)


if __name__ == "__main__":
    main()
