"""The Helm chart: rendered by Helm, valid for all its versions, its config one of pollect's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools.pythons import installed_pythons

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
#: helm-python-sdk needs a newer Python than pollect does.
PACKAGES = ("helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0")

NODE = {
    "mode": "node",
    "config": {
        "writer": {"type": "Prometheus", "port": 8000},
        "executors": [{"collection": "node", "sources": [{"type": "LoadAvg"}]}],
    },
}
VALUE_SETS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "node": NODE,
    "node that reads drives": {
        **NODE,
        "runAsRoot": True,
        "capabilities": ["SYS_RAWIO"],
        "tolerations": [{"operator": "Exists"}],
        "state": {"kind": "hostPath"},
    },
    "node without the host": {**NODE, "hostRoots": False, "hostNetwork": False},
    "fleet with state and monitors": {
        "replicas": 5,
        "state": {"kind": "claim", "storageClassName": "fast"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podMonitor": {"enabled": True},
        "networkPolicy": {"enabled": True},
        "secrets": ["router"],
        "extensions": "tide",
        "env": [{"name": "SITE", "value": "attic"}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "home"},
        "nodeSelector": {"disk": "ssd"},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "fleet on an engine": {
        "config": {
            "fleet": {"engine": "etcd://etcd:2379", "name": "${POD_NAME}"},
            "writer": {"type": "Prometheus"},
            "executors": [{"collection": "net", "sources": [{"type": "Dummy", "value": 1}]}],
        },
        "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
    },
    "a config that is there already": {"existingConfigMap": "mine", "scheme": "HTTPS"},
}


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with Helm, in an environment that is kept in `.images/`."""
    newer = [path for minor, path in installed_pythons().items() if minor != "3.11"]
    interpreter = sys.executable if sys.version_info >= (3, 12) else next(map(str, newer), None)
    if interpreter is None:
        pytest.skip("needs Python 3.12 or newer for Helm")
    folder = ROOT / ".images" / "helm"
    python = folder / "bin" / "python"
    stamp, recipe = folder / "installed", " ".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != recipe:
        subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        stamp.write_text(recipe)
    return python


def render(helm: Path, values: dict[str, Any], versions: list[str] | None = None) -> dict[str, Any]:
    done = subprocess.run(
        [str(helm), "tests/deploy/render_chart.py"],
        cwd=ROOT,
        input=json.dumps({"values": values, "versions": versions or []}),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    rendered: dict[str, Any] = json.loads(done.stdout)
    return rendered


def only(rendered: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (part for part in rendered["documents"] if part["kind"] == kind)
    return dict(found)


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_what_helm_renders_is_valid_for_every_version(helm, values) -> None:
    rendered = render(helm, values, VERSIONS)
    assert rendered["documents"]
    assert rendered["problems"] == []


@pytest.mark.parametrize("name", [n for n in VALUE_SETS if not n.startswith("a config")])
def test_the_rendered_config_is_one_that_check_accepts(helm, name, tmp_path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(only(render(helm, VALUE_SETS[name]), "ConfigMap")["data"]["config.yml"])
    done = subprocess.run(
        [sys.executable, "-m", "pollect", "check", str(config)],
        env={**os.environ, "POD_NAME": "demo-pollect-2"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_fleet_is_a_stateful_set_in_which_each_pod_is_a_shard(helm) -> None:
    rendered = render(helm, {"replicas": 5})
    assert only(rendered, "StatefulSet")["spec"]["replicas"] == 5
    config = yaml.safe_load(only(rendered, "ConfigMap")["data"]["config.yml"])
    assert config["fleet"] == {"shard": {"index": "${POD_NAME}", "count": 5}}


def test_nodes_get_a_daemon_set_with_the_roots_of_the_host(helm) -> None:
    rendered = render(helm, NODE)
    pod = only(rendered, "DaemonSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "POLLECT_ROOT", "value": "/host"} in container["env"]
    assert {"name": "host", "hostPath": {"path": "/", "type": "Directory"}} in pod["volumes"]
    assert "fleet" not in yaml.safe_load(only(rendered, "ConfigMap")["data"]["config.yml"])


def test_a_pod_keeps_to_the_restricted_standard_where_the_config_lets_it(helm) -> None:
    """Kubernetes' Pod Security Standards, "Restricted"."""
    pod = only(render(helm, {}), "StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"hostPath"}.isdisjoint(key for volume in pod["volumes"] for key in volume)
    assert not pod.get("hostNetwork")
    assert not pod.get("hostPID")


def test_another_config_restarts_the_pods(helm) -> None:
    sums = {
        only(render(helm, values), kind)["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]
        for values, kind in (({}, "StatefulSet"), (NODE, "DaemonSet"))
    }
    assert len(sums) == 2


def test_a_mode_that_does_not_exist_is_refused_in_words(helm) -> None:
    with pytest.raises(AssertionError, match="mode: expected node or fleet, got pods"):
        render(helm, {"mode": "pods"})
