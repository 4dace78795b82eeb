"""The deployment kit: every piece says what the code does, and names only what is there."""

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from job.core.events import TokenDelivered, TokenRefreshed
from job.inventory.kinds import load
from job.observe import metrics

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = ("service", "sidecar", "cronjob")
SECRET_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tiki/token-AbCdEf"


@functools.cache
def parsed(path: str) -> Any:  # noqa: ANN401  # YAML is of any type
    """Return a YAML file of the kit."""
    return yaml.safe_load((DEPLOY / path).read_text("utf-8"))


def resources(variant: str) -> list[dict[str, Any]]:
    """Return the objects of a kustomization."""
    names = parsed(f"kubernetes/{variant}/kustomization.yaml")["resources"]
    return [parsed(f"kubernetes/{variant}/{name}") for name in names]


def workload(variant: str) -> dict[str, Any]:
    """Return the pod of a kustomization."""
    specs = [one["spec"] for one in resources(variant) if "spec" in one]
    [spec] = [spec.get("jobTemplate", {}).get("spec", spec) for spec in specs]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod


def containers(variant: str) -> dict[str, dict[str, Any]]:
    """Return the containers of a pod, sidecars included."""
    pod = workload(variant)
    return {one["name"]: one for one in pod.get("initContainers", []) + pod["containers"]}


# Configurations


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("freshtoken.toml")), ids=str)
def test_every_configuration_is_valid(path: Path) -> None:
    """Promise: a configuration of the kit is one that the job takes."""
    assert load(str(path), {}).tokens.keys() == {"tiki"}


def test_the_variables_of_the_ecs_task_describe_a_token(tmp_path: Path) -> None:
    """Promise: the task needs no file."""
    [container] = json.loads((DEPLOY / "aws/ecs-task-definition.json").read_text())[
        "containerDefinitions"
    ]
    environ = {one["name"]: one["value"] for one in container["environment"]}
    environ |= {one["name"]: "s3cret" for one in container["secrets"]}
    config = load(None, environ, with_secrets=True)
    assert config.http is not None
    assert [sink.secret_id for sink in config.tokens["tiki"].sinks] == ["tiki/token"]


# Kubernetes


@pytest.mark.parametrize("variant", KUBERNETES)
def test_what_a_pod_refers_to_is_there(variant: str) -> None:
    """Promise: every ConfigMap, account, volume and port is made by the same kustomization."""
    kustomization = parsed(f"kubernetes/{variant}/kustomization.yaml")
    assert {path.name for path in (DEPLOY / "kubernetes" / variant).iterdir()} == {
        "kustomization.yaml",
        *kustomization["resources"],
        *(file for one in kustomization["configMapGenerator"] for file in one["files"]),
    }
    pod, made = workload(variant), {one["metadata"]["name"] for one in resources(variant)}
    assert pod.get("serviceAccountName", "freshtoken") in made | {"freshtoken"}
    volumes = {one["name"]: one for one in pod["volumes"]}
    mounted = {
        mount["name"] for one in containers(variant).values() for mount in one["volumeMounts"]
    }
    assert mounted == set(volumes)
    assert volumes["config"]["configMap"]["name"] == kustomization["configMapGenerator"][0]["name"]
    [source] = volumes["client-secrets"]["projected"]["sources"]
    command = f"kubectl create secret generic {source['secret']['name']} --from-file=tiki="
    assert command in (DEPLOY / "kubernetes" / variant / "kustomization.yaml").read_text()
    config = load(str(DEPLOY / "kubernetes" / variant / "freshtoken.toml"), {})
    client_secret = config.tokens["tiki"].client_secret
    assert client_secret is not None
    assert client_secret.file == "/run/secrets/freshtoken/tiki"


@pytest.mark.parametrize("variant", KUBERNETES)
def test_a_pod_may_do_nothing_that_it_need_not(variant: str) -> None:
    """Promise: no root, no capability, no writable root, no API token (Pod Security)."""
    pod = workload(variant)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(variant).values():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("variant", ["service", "sidecar"])
def test_the_probes_ask_what_the_job_answers(variant: str) -> None:
    """Promise: liveness is the sweep, readiness the promise, on the port that is listened on."""
    container = containers(variant)["freshtoken"]
    [port] = container["ports"]
    config = load(str(DEPLOY / "kubernetes" / variant / "freshtoken.toml"), {})
    assert config.http is not None
    assert config.http.listen == f"0.0.0.0:{port['containerPort']}"
    asked = {probe: container[probe]["httpGet"] for probe in container if probe.endswith("Probe")}
    assert asked.pop("livenessProbe") == {"path": "/healthz", "port": port["name"]}
    assert list(asked.values()) == [{"path": "/readyz", "port": port["name"]}] * len(asked)


def test_the_sidecar_hands_over_in_memory() -> None:
    """Promise: the token is on no disk, and the app can read it but not change it."""
    volumes = {one["name"]: one for one in workload("sidecar")["volumes"]}
    assert volumes["tokens"]["emptyDir"]["medium"] == "Memory"
    [mount] = containers("sidecar")["app"]["volumeMounts"]
    assert mount == {"name": "tokens", "mountPath": "/run/freshtoken", "readOnly": True}


# Compose


def test_compose_shares_a_folder_in_memory() -> None:
    """Promise: as with the sidecar, and every volume and secret is declared."""
    compose = parsed("compose/compose.yaml")
    services = compose["services"]
    assert compose["volumes"]["tokens"]["driver_opts"]["type"] == "tmpfs"
    assert "tokens:/run/freshtoken" in services["freshtoken"]["volumes"]
    assert services["app"]["volumes"] == ["tokens:/run/freshtoken:ro"]
    assert services["freshtoken"]["secrets"] == list(compose["secrets"])
    for service in services.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


# AWS


def policy(name: str) -> dict[str, Any]:
    """Return a policy with its blanks filled in."""
    text = (DEPLOY / f"aws/{name}-policy.json").read_text()
    blanks = {"secret_arn": SECRET_ARN, "region": "eu-central-1"}
    blanks["kms_key_arn"] = "arn:aws:kms:eu-central-1:123456789012:key/1"
    filled = re.sub(r"\$\{(\w+)\}", lambda found: blanks[found[1]], text)
    document: dict[str, Any] = json.loads(filled)
    return document


def actions(statement: dict[str, Any]) -> set[str]:
    """Return the actions of a statement."""
    found = statement["Action"]
    return {found} if isinstance(found, str) else set(found)


def called(path: str, variable: str) -> set[str]:
    """Return the AWS actions that a module calls: methods of the client of that name."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {
        "secretsmanager:" + node.func.attr.title().replace("_", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == variable
    }


def test_the_writer_may_do_what_the_sink_calls_and_no_more() -> None:
    """Promise: least privilege, checked against the code; the kit makes the secret itself."""
    keep, key = policy("writer")["Statement"]
    assert actions(keep) == called("job/sinks/secrets_manager.py", "aws") - {
        "secretsmanager:CreateSecret"
    }
    assert keep["Resource"] == SECRET_ARN
    assert actions(key) == {"kms:Decrypt", "kms:GenerateDataKey"}


def test_the_reader_may_read_and_no_more() -> None:
    """Promise: it fits readers of the token, and the job as a reader of its client secret."""
    read, key = policy("reader")["Statement"]
    assert actions(read) == {"secretsmanager:GetSecretValue"}
    assert actions(read) == called("job/credentials/aws.py", "self.client()") - {
        "secretsmanager:GetParameter",
        "secretsmanager:GetWebIdentityToken",
    }
    assert actions(key) == {"kms:Decrypt"}


@pytest.mark.parametrize("name", ["writer", "reader"])
@pytest.mark.slow
def test_a_policy_is_one_that_iam_takes(name: str) -> None:
    """Promise: its grammar is IAM's, and the key works for this one secret alone."""
    from moto.iam.policy_validation import IAMPolicyDocumentValidator  # noqa: PLC0415  # loads moto

    document = policy(name)
    IAMPolicyDocumentValidator(json.dumps(document)).validate()
    assert document["Statement"][1]["Condition"] == {
        "StringEquals": {
            "kms:EncryptionContext:SecretARN": SECRET_ARN,
            "kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com",
        }
    }


@pytest.mark.slow
def test_the_ecs_task_is_one_that_ecs_takes() -> None:
    """Promise: every key and type is that of RegisterTaskDefinition, and the task has no root."""
    import boto3  # noqa: PLC0415  # 150 ms
    from botocore.validate import ParamValidator  # noqa: PLC0415  # the same

    task = json.loads((DEPLOY / "aws/ecs-task-definition.json").read_text())
    client = boto3.Session("fake-key-id", "fake-key", region_name="eu-central-1").client("ecs")
    shape = client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
    client.close()
    assert shape is not None
    assert ParamValidator().validate(task, shape).generate_report() == ""
    [container] = task["containerDefinitions"]
    assert (container["user"], container["readonlyRootFilesystem"]) == ("65532:65532", True)


# Terraform


@functools.cache
def terraform() -> dict[str, list[Any]]:
    """Return the blocks of the module, by their kind."""
    import hcl2  # noqa: PLC0415  # makes its parser at import

    blocks: dict[str, list[Any]] = {}
    for path in sorted((DEPLOY / "terraform").glob("*.tf")):
        with path.open(encoding="utf-8") as file:
            for kind, found in hcl2.load(file).items():
                blocks.setdefault(kind.strip('"'), []).extend(found)
    return blocks


def labels(kind: str) -> set[str]:
    """Return the names of the blocks of a kind."""
    names = {
        ".".join(label.strip('"') for label in (outer, *_inner(kind, block[outer])))
        for block in terraform()[kind]
        for outer in block
        if not outer.startswith("__")
    }
    return {name.strip('"') for name in names}


def _inner(kind: str, body: dict[str, Any]) -> list[str]:
    return [next(iter(body))] if kind in {"resource", "data"} else []


@pytest.mark.slow
def test_terraform_names_only_what_it_has() -> None:
    """Promise: every variable is used, and every reference has its block."""
    text = "".join(path.read_text("utf-8") for path in (DEPLOY / "terraform").glob("*.tf"))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == labels("variable")
    assert set(re.findall(r"\bdata\.(\w+\.\w+)", text)) == labels("data")
    referred = set(re.findall(r"(?<![\w.\"])(aws_\w+\.\w+)\b", text))
    assert referred - labels("resource") - labels("data") == set()


def test_terraform_runs_the_handler_that_there_is() -> None:
    """Promise: the function's handler can be imported, and finds the file that the package has."""
    text = (DEPLOY / "terraform" / "main.tf").read_text("utf-8")
    [(module, function)] = re.findall(r'handler += "([\w.]+)\.(\w+)"', text)
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert 'FRESHTOKEN_CONFIG = "/var/task/freshtoken.toml"' in text
    assert '"$work/freshtoken.toml"' in (DEPLOY / "aws" / "package.sh").read_text()


# Prometheus and Grafana

METRIC = re.compile(r"\bfreshtoken_[a-z_]+\b")


def known_metrics() -> set[str]:
    """Return the names of all samples that the job gives, before any token is known."""
    counted = metrics.Metrics(list)
    counted.observe(TokenRefreshed("t", "f", 1, "expires_in", 1, 1, 1))
    counted.observe(TokenDelivered("t", "s", "f", 1))
    text = counted.exposition()[0].decode()
    families = list(text_string_to_metric_families(text))
    return {sample.name for family in families for sample in family.samples} | {
        family.name for family in families
    }


def expressions() -> Iterator[str]:
    """Yield every expression of the rules and of the dashboard."""
    for group in parsed("prometheus/freshtoken.rules.yaml")["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    dashboard = json.loads((DEPLOY / "grafana/freshtoken.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (one["definition"] for one in dashboard["templating"]["list"] if "definition" in one)


def test_rules_and_dashboard_name_the_metrics_that_there_are() -> None:
    """Promise: no panel is empty and no alert silent for a name that is not the code's."""
    named = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert named - known_metrics() == set()
    # Everything that describes the tokens is shown.
    told = {name for name in known_metrics() if METRIC.fullmatch(name)}
    unshown = {
        re.sub(r"_(total|bucket|sum|count|created|info)$", "", name) for name in told - named
    }
    shown = {re.sub(r"_(total|bucket|sum|count|created|info)$", "", name) for name in named}
    assert unshown - shown == set()


def test_every_rule_has_a_test_of_its_own() -> None:
    """Promise: promtool sees each alert fire, and say what it says."""
    rules = [
        rule["alert"]
        for group in parsed("prometheus/freshtoken.rules.yaml")["groups"]
        for rule in group["rules"]
    ]
    fired = {
        case["alertname"]
        for test in parsed("prometheus/freshtoken.rules.test.yaml")["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fired == set(rules)


def test_the_dashboard_is_whole() -> None:
    """Promise: ids are unique, nothing overlaps, every panel has a title and says what is good."""
    dashboard = json.loads((DEPLOY / "grafana/freshtoken.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert [panel["title"] for panel in panels if not panel["description"]] == []
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


# systemd


def unit(name: str) -> list[str]:
    """Return the lines of a unit, without comments."""
    lines = (DEPLOY / "systemd" / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_service_never_gives_up_and_hides_its_secret() -> None:
    """Promise: it is started again for ever, after a pause; its secret is a credential."""
    lines = unit("freshtoken.service")
    assert "StartLimitIntervalSec=0" in lines
    assert "RestartSec=5" in lines
    assert "Restart=always" in lines
    assert "LoadCredential=tiki:/etc/freshtoken/credentials/tiki" in lines


def test_the_pass_is_as_hardened_as_the_service() -> None:
    """Promise: from the user on, both units have the same lines."""
    service, once = unit("freshtoken.service"), unit("freshtoken-once.service")
    end = service.index("[Install]")
    assert service[service.index("User=freshtoken") : end] == once[once.index("User=freshtoken") :]
    assert "Type=oneshot" in once
    assert "OnUnitActiveSec=60s" in unit("freshtoken-once.timer")


# The page


def test_the_page_names_every_piece() -> None:
    """Promise: every file of the kit is found from deploy/README.md, and every link leads on."""
    page = (DEPLOY / "README.md").read_text("utf-8")
    for folder in DEPLOY.iterdir():
        assert folder.name in page
    links = re.findall(r"\]\(([^)#:]+)\)", page)
    assert [link for link in links if not (DEPLOY / link).exists()] == []
