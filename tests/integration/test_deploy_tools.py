"""The deployment kit before the tools that it is for: promtool, systemd, kubectl and their kind."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from page_fixtures import bad_night
from running import PATIENCE_S, ROOT, missing

from job.core.events import TokenDelivered, TokenRefreshed
from job.observe.metrics import Metrics

pytestmark = pytest.mark.integration

DEPLOY = ROOT / "deploy"


def ask(*argv: str, cwd: Path | None = None, told: str = "", **environ: str) -> str:
    """Run a tool that must find nothing wrong; what it says."""
    if shutil.which(argv[0]) is None:
        missing(f"{argv[0]} is not installed")
    done = subprocess.run(
        argv,
        input=told,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=cwd,
        env=os.environ | environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_sees_them_fire() -> None:
    """Promise: each alert fires when it must, not before, and says what is wrong."""
    folder = DEPLOY / "prometheus"
    assert "SUCCESS: 6 rules found" in ask(
        "promtool", "check", "rules", "freshtoken.rules.yaml", cwd=folder
    )
    assert "SUCCESS" in ask("promtool", "test", "rules", "freshtoken.rules.test.yaml", cwd=folder)


def test_promtool_accepts_the_metrics() -> None:
    """Promise: names, types and units of the metrics follow Prometheus's conventions."""
    metrics = Metrics(lambda: bad_night(1_764_000_000))
    metrics.observe(TokenRefreshed("tiki", "9f2c", 1, "expires_in", 1, 400, 1))
    metrics.observe(TokenDelivered("tiki", "file:/a", "9f2c", 1))
    exposition, _ = metrics.exposition()
    assert ask("promtool", "check", "metrics", told=exposition.decode()) == ""


def test_promtool_accepts_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """Promise: every panel's expression is PromQL."""
    dashboard = json.loads((DEPLOY / "grafana" / "freshtoken.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for name, value in (("$__rate_interval", "5m"), ("$job", ".*"), ("$token", ".*")):
        found = [expression.replace(name, value) for expression in found]
    rules = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(found)]
    path = tmp_path / "panels.yaml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in ask("promtool", "check", "rules", str(path))


def test_systemd_has_nothing_to_say_about_the_timer(tmp_path: Path) -> None:
    """Promise: every key is known to systemd, and the pass is as hardened as the service."""
    for name in ("freshtoken-once.service", "freshtoken-once.timer"):
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/freshtoken/bin/freshtoken", sys.executable))
    service, timer = (str(tmp_path / f"freshtoken-once.{kind}") for kind in ("service", "timer"))
    assert ask("systemd-analyze", "verify", "--man=no", service, timer) == ""
    ask("systemd-analyze", "security", "--offline=true", "--threshold=15", service)


@pytest.mark.parametrize("variant", ["service", "sidecar", "cronjob"])
def test_kustomize_builds_what_kubernetes_takes(variant: str, tmp_path: Path) -> None:
    """Promise: `kubectl apply -k` finds every file, and each object follows Kubernetes' schema."""
    folder = DEPLOY / "kubernetes" / variant
    built = tmp_path / "built.yaml"
    built.write_text(ask("kubectl", "kustomize", str(folder), HOME=str(tmp_path)))
    validator = Path(sys.executable).parent / "kubernetes-validate"
    said = ask(str(validator), "--strict", str(built))
    kinds = {"service": 3, "sidecar": 2, "cronjob": 3}
    assert said.count(" passed for resource ") == kinds[variant]
    # The hashed name of the ConfigMap has reached the pod, and the image its registry.
    text = built.read_text()
    assert "name: freshtoken-" in text.partition("kind: ConfigMap")[2]
    assert "registry.example/freshtoken:1" in text


def test_compose_takes_its_file(tmp_path: Path) -> None:
    """Promise: the file follows the schema, and every volume and secret is declared."""
    shutil.copytree(DEPLOY / "compose", tmp_path / "compose")
    said = ask("docker-compose", "--file", "compose.yaml", "config", cwd=tmp_path / "compose")
    assert "tokens:/run/freshtoken:ro" in said


def test_the_packaging_script_is_sound_and_works(tmp_path: Path) -> None:
    """Promise: it is plain sh, and what it packs is the job, its modules and its configuration."""
    script = DEPLOY / "aws" / "package.sh"
    assert ask("shellcheck", str(script)) == ""
    # Stands in for pip: what it installs is checked by hashes, and not to be fetched for a test.
    pip = tmp_path / "python3"
    pip.write_text(f'#!/bin/sh\n[ "$2" = pip ] || exec {sys.executable} "$@"\n')
    pip.chmod(0o755)
    package = tmp_path / "package.zip"
    path = f"{tmp_path}:{os.environ['PATH']}"
    ask(
        "sh",
        str(script),
        str(DEPLOY / "aws" / "freshtoken.toml"),
        str(package),
        cwd=ROOT,
        PATH=path,
    )
    with zipfile.ZipFile(package) as packed:
        names = set(packed.namelist())
    assert {"freshtoken.toml", "job/runners/aws_lambda.py", "job/config/presets.toml"} <= names
    assert [name for name in names if "__pycache__" in name] == []


def test_terraform_takes_the_module(tmp_path: Path) -> None:
    """Promise: it is formatted, and where its provider can be had, valid by AWS' own schema.

    Terraform is in none of the registries that CI installs from, so it is no failure without it;
    tests/test_deploy.py parses the module everywhere.
    """
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    folder = tmp_path / "deploy" / "terraform"
    ask("terraform", "fmt", "-check", "-diff", cwd=folder)
    prepare = ["terraform", "init", "-backend=false", "-input=false", "-no-color"]
    if plugins := os.environ.get("TERRAFORM_PLUGINS"):
        prepare.append(f"-plugin-dir={plugins}")
    done = subprocess.run(prepare, capture_output=True, timeout=PATIENCE_S, check=False, cwd=folder)
    if done.returncode:
        pytest.skip("the AWS provider of terraform can't be had; TERRAFORM_PLUGINS names a mirror")
    assert "The configuration is valid" in ask("terraform", "validate", "-no-color", cwd=folder)
