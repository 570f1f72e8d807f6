"""What is in the manifests: each thing that Compose Bridge loses of `models:` among it."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.kubernetes.exporting import Exporter, options
from tests.registry import RegistryServer

SHOP = """
services:
  web:
    image: example/web:1
    command: ["serve", "--price=$$(COST)"]
    models: [llm]
    environment: {GREETING: "good\\nday"}
    ports: ["8080:80"]
    healthcheck: {test: ["CMD-SHELL", "wget -q localhost"], interval: 7s}
  built:
    build: .
    models: {other: {endpoint_var: OTHER_URL, model_var: OTHER_NAME}}
  db:
    image: example/db:1
    volumes: ["data:/data"]
volumes: {data: {}}
models:
  llm:
    model: registry.example/me/tiny:v1
    context_size: 128
    runtime_flags: ["--temp", "0.2"]
    x-dmrc: {parallel: 3}
  other:
    model: registry.example/me/tiny:v1
    context_size: 256
  llm_again:
    model: registry.example/me/tiny:v1
    context_size: 256
"""


def test_each_configuration_of_a_model_is_a_deployment_and_a_service(exporter: Exporter) -> None:
    exported = exporter.export(SHOP)

    engines = [each for each in exported.documents() if "engine" in each["metadata"]["labels"].values()]
    found = {(each["kind"], each["metadata"]["name"]) for each in engines}
    assert found == {
        ("Deployment", "dmrc-model-llm"),
        ("Service", "dmrc-model-llm"),
        ("Deployment", "dmrc-model-other"),  # llm_again is the same model with the same options
        ("Service", "dmrc-model-other"),
        ("NetworkPolicy", "dmrc-engines"),
    }


def test_context_slots_and_flags_reach_the_engine(exporter: Exporter) -> None:
    container = exporter.export(SHOP).pod("dmrc-model-llm")["containers"][0]

    said = options(container["args"])
    assert said["--ctx-size"] == "384"  # 128 tokens for each of three slots
    assert said["--parallel"] == "3"
    assert said["--temp"] == "0.2"
    assert {"--jinja", "--metrics"} <= said.keys()
    assert said["--alias"] == "registry.example/me/tiny:v1"


def test_the_model_is_pulled_by_its_digest(exporter: Exporter) -> None:
    exported = exporter.export(SHOP)

    (pull,) = exported.pod("dmrc-model-llm")["initContainers"]
    assert pull["args"][-1] == f"registry.example/me/tiny@{exporter.digest}"
    annotations = exported.one("Deployment", "dmrc-model-llm")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["dmrc.dev/model"].endswith(exporter.digest)


def test_an_engine_is_ready_when_its_model_is_loaded(exporter: Exporter) -> None:
    container = exporter.export(SHOP).pod("dmrc-model-llm")["containers"][0]

    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 1800


def test_memory_is_the_estimate_of_each_configuration(exporter: Exporter) -> None:
    exported = exporter.export(SHOP.replace("context_size: 256", "context_size: 512"))

    sizes = {}
    for name in ("llm", "other"):
        resources = exported.pod(f"dmrc-model-{name}")["containers"][0]["resources"]
        asked, most = (int(resources[kind]["memory"].removesuffix("Mi")) for kind in ("requests", "limits"))
        assert asked < most <= asked * 1.2 + 1
        sizes[name] = asked
    assert sizes["llm"] < sizes["other"]  # 384 tokens, and 2048


def test_an_engine_asks_for_a_key_that_the_gateway_has(exporter: Exporter) -> None:
    exported = exporter.export(SHOP)

    container = exported.pod("dmrc-model-llm")["containers"][0]
    named = next(each for each in container["env"] if each["name"] == "LLAMA_API_KEY")["valueFrom"]["secretKeyRef"]
    key = exported.secret(named["name"])[named["key"]]
    registration = json.loads(exported.one("ConfigMap", "dmrc-gateway-project")["data"]["project.json"])
    upstream = registration["models"]["llm"]["upstream"]
    assert upstream["url"] == "http://dmrc-model-llm:8080/v1"
    assert upstream["key"] == named["key"]
    gateway = exported.pod("dmrc-gateway")["containers"][0]
    assert named["name"] in [each["secretRef"]["name"] for each in gateway["envFrom"]]
    assert len(key) > 40


def test_engines_hear_the_gateway_alone_and_the_gateway_services_with_models(exporter: Exporter) -> None:
    exported = exporter.export(SHOP)

    def labels_of(name: str) -> dict[str, str]:
        found: dict[str, str] = exported.one("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        return found

    def admits(policy: str, caller: str) -> bool:
        (rule,) = exported.one("NetworkPolicy", policy)["spec"]["ingress"]
        return any(each["podSelector"]["matchLabels"].items() <= labels_of(caller).items() for each in rule["from"])

    covered = exported.one("NetworkPolicy", "dmrc-engines")["spec"]["podSelector"]["matchLabels"]
    assert covered.items() <= labels_of("dmrc-model-llm").items()
    assert [admits("dmrc-engines", each) for each in ("dmrc-gateway", "web", "db")] == [True, False, False]
    assert [admits("dmrc-gateway", each) for each in ("web", "db", "dmrc-model-llm")] == [True, False, False]


def test_no_key_is_outside_of_the_secrets(exporter: Exporter) -> None:
    exported = exporter.export(SHOP)

    keys = json.loads((exported.directory / "base/secrets/keys.json").read_text())
    assert set(keys) == {"service/web", "service/built", "engine/dmrc-model-llm", "engine/dmrc-model-other"}
    for name, content in exported.content().items():
        assert name.startswith("base/secrets/") or not any(key.encode() in content for key in keys.values()), name
    for path in (exported.directory / "base/secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert "/base/secrets/" in (exported.directory / ".gitignore").read_text()


def test_a_service_has_its_variables_from_its_secret(exporter: Exporter) -> None:
    exported = exporter.export(SHOP)

    key = json.loads((exported.directory / "base/secrets/keys.json").read_text())["service/web"]
    variables = exported.secret("web-variables")
    assert variables["OPENAI_API_KEY"] == key
    assert variables["OPENAI_BASE_URL"] == "http://dmrc-gateway:12434/engines/v1"
    assert variables["OPENAI_MODEL"] == "registry.example/me/tiny:v1"
    assert variables["GREETING"] == "good\nday"
    container = exported.pod("web")["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "web-variables"}}]
    assert container["args"] == ["serve", "--price=$$(COST)"]  # which Kubernetes reads as $(COST)
    assert container["readinessProbe"]["exec"]["command"] == ["/bin/sh", "-c", "wget -q localhost"]
    assert exported.one("Service", "web")["spec"]["ports"][0]["port"] == 80


def test_what_is_not_converted_is_named_and_has_a_patch(exporter: Exporter) -> None:
    exported = exporter.export(SHOP)

    for words in ("services.built.image: the service is built here", "services.db.volumes", "services.web.ports: 8080"):
        assert words in exported.said
        assert words in (exported.directory / "base/kustomization.yaml").read_text()
    component = yaml.safe_load((exported.directory / "components/services/kustomization.yaml").read_text())
    (patch,) = component["patches"]
    assert patch["target"] == {"kind": "Deployment", "name": "built"}
    assert "built-variables" in patch["patch"]
    assert exported.secret("built-variables")["OTHER_URL"].startswith("http://dmrc-gateway:12434/k/sk-dmrc-")


def test_the_same_project_is_the_same_bytes(exporter: Exporter) -> None:
    first = exporter.export(SHOP).content()

    assert exporter.export(SHOP).content() == first
    assert exporter.export(SHOP, "-o", exporter.directory / "again").said
    again = {
        path.relative_to(exporter.directory / "again").as_posix(): path.read_bytes()
        for path in (exporter.directory / "again").rglob("*")
        if path.is_file()
    }
    assert again == first


def test_keys_of_the_directory_stay_where_this_home_knows_others(exporter: Exporter) -> None:
    first = exporter.export(SHOP).content()

    (exporter.dmrc.home / "projects/.kubernetes-shop/keys.json").unlink()

    assert exporter.export(SHOP).content() == first


def test_what_is_in_the_project_no_more_goes(exporter: Exporter) -> None:
    exporter.export(SHOP)

    exported = exporter.export(SHOP[: SHOP.index("  built:")] + SHOP[SHOP.index("models:\n  llm") :])

    assert not (exported.directory / "base/service-db.yaml").exists()
    assert not (exported.directory / "components/services/kustomization.yaml").exists()


def test_a_directory_of_somebody_else_is_left_alone(exporter: Exporter) -> None:
    (exporter.directory / "kubernetes").mkdir()
    (exporter.directory / "kubernetes/mine.yaml").write_text("a: 1\n")

    assert "none that dmrc export has written" in exporter.refused(SHOP)


def test_a_model_that_is_not_here_is_refused_with_what_to_do(exporter: Exporter) -> None:
    said = exporter.refused(SHOP.replace("me/tiny:v1", "me/gone:v1"))

    assert "me/gone:v1" in said
    assert "dmrc pull" in said


def test_a_template_of_the_project_goes_along(exporter: Exporter) -> None:
    (exporter.directory / "chat.jinja").write_text("{{ messages[0].content }}")

    exported = exporter.export(SHOP.replace("{parallel: 3}", "{parallel: 3, chat_template: ./chat.jinja}"))

    container = exported.pod("dmrc-model-llm")["containers"][0]
    assert options(container["args"])["--chat-template-file"] == "/files/chat.jinja"
    assert "chat.jinja" in exported.one("ConfigMap", "dmrc-model-llm-files")["binaryData"]
    assert {"name": "files", "mountPath": "/files", "readOnly": True} in container["volumeMounts"]


def test_a_draft_is_pulled_into_a_directory_of_its_own(exporter: Exporter) -> None:
    exported = exporter.export(SHOP.replace("{parallel: 3}", "{draft: registry.example/me/tiny:v1}"))

    pod = exported.pod("dmrc-model-llm")
    assert options(pod["containers"][0]["args"])["--spec-draft-model"].startswith("/")
    assert [each["name"] for each in pod["initContainers"]] == ["pull-model", "pull-draft"]


@pytest.mark.parametrize(
    ("wish", "resource", "image"),
    [
        ("gpu: required", "nvidia.com/gpu", "server-cuda"),
        ("device: CUDA1", "nvidia.com/gpu", "server-cuda"),
        ("device: ROCm0", "amd.com/gpu", "server-rocm"),
    ],
)
def test_a_declared_card_is_a_resource_and_an_image_for_it(
    exporter: Exporter, wish: str, resource: str, image: str
) -> None:
    container = exporter.export(SHOP.replace("{parallel: 3}", f"{{{wish}}}")).pod("dmrc-model-llm")["containers"][0]

    assert container["resources"]["limits"][resource] == "1"
    assert container["image"].endswith(image)
    said = options(container["args"])
    assert (said["--device"][-1], said["--n-gpu-layers"]) == ("0", "all")  # the Pod's only card is its first


def test_a_card_that_no_cluster_names_is_refused(exporter: Exporter) -> None:
    said = exporter.refused(SHOP.replace("{parallel: 3}", "{device: Vulkan0}"))

    assert "no cluster has a resource for device 'Vulkan0'" in said


def test_replicas_are_pods_slots_of_the_gateway_and_an_autoscaler(exporter: Exporter) -> None:
    exported = exporter.export(SHOP, "--replicas", "llm=2-5", "--autoscale")

    scaler = exported.one("HorizontalPodAutoscaler", "dmrc-model-llm")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert "replicas" not in exported.one("Deployment", "dmrc-model-llm")["spec"]
    assert exported.one("PodDisruptionBudget", "dmrc-model-llm")["spec"]["maxUnavailable"] == 1
    registration = json.loads(exported.one("ConfigMap", "dmrc-gateway-project")["data"]["project.json"])
    assert registration["models"]["llm"]["parallel"] == 15
    fixed = exporter.export(SHOP, "--replicas", "llm=3")
    assert fixed.one("Deployment", "dmrc-model-llm")["spec"]["replicas"] == 3


def test_an_upstream_elsewhere_stays_one_and_its_key_is_a_secret(exporter: Exporter) -> None:
    compose = SHOP.replace("{parallel: 3}", "{upstream: {url: https://api.example/v1, key: FAR_KEY}}").replace(
        '    context_size: 128\n    runtime_flags: ["--temp", "0.2"]\n', ""
    )
    exporter.dmrc.environment["FAR_KEY"] = "far-secret"

    exported = exporter.export(compose)

    assert exported.secret("dmrc-upstream-keys") == {"FAR_KEY": "far-secret"}
    registration = json.loads(exported.one("ConfigMap", "dmrc-gateway-project")["data"]["project.json"])
    assert registration["models"]["llm"]["upstream"]["url"] == "https://api.example/v1"


@pytest.mark.parametrize("way", ["pull", "volume"])
def test_pods_have_no_root_and_no_token(exporter: Exporter, way: str) -> None:
    exported = exporter.export(SHOP, "--weights", way)

    for name in ("dmrc-model-llm", "dmrc-model-other", "dmrc-gateway"):
        pod = exported.pod(name)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
    kinds = [each["kind"] for each in exported.documents()]
    assert kinds.count("PersistentVolumeClaim") == (3 if way == "volume" else 1)


def test_weights_are_an_image_by_its_digest_that_push_makes(exporter: Exporter, registry: RegistryServer) -> None:
    exported = exporter.export(SHOP, "--weights", "image", "--models-in", f"{registry.address}/models")

    pod = exported.pod("dmrc-model-llm")
    (volume,) = (each["image"] for each in pod["volumes"] if "image" in each)
    assert "initContainers" not in pod
    assert {"name": "model", "mountPath": "/model", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    (said,) = (line for line in exported.said.splitlines() if line.startswith("Push "))
    tag, push = (words.split() for words in said.partition(": ")[2].split(" && "))
    exporter.dmrc.ok(*tag[1:])
    assert volume["reference"] == f"{registry.address}/models/tiny@{exporter.dmrc.ok(*push[1:]).strip()}"
    assert "--models-in" in exporter.refused(SHOP, "--weights", "image")


def test_a_model_of_another_machine_is_served_by_the_cluster(exporter: Exporter) -> None:
    exported = exporter.export(SHOP.replace("{parallel: 3}", "{parallel: 3, host: ssh://me@box}"))

    assert options(exported.pod("dmrc-model-llm")["containers"][0]["args"])["--parallel"] == "3"
    assert "models.llm: the cluster serves it, and not ssh://me@box" in exported.said


def test_json_lists_files_and_what_is_left_out(exporter: Exporter) -> None:
    exporter.export(SHOP)

    told = json.loads(exporter.dmrc.ok("export", "kubernetes", "--json", cwd=exporter.directory))

    assert told["files"]["base/secrets/web-variables.yaml"] == {"secret": True}
    assert any("services.db.volumes" in line for line in told["not_converted"])


def test_what_a_pod_has_no_place_for_is_told(exporter: Exporter) -> None:
    card = "{driver: nvidia, count: 1, capabilities: [gpu]}"
    deploy = f"deploy: {{resources: {{limits: {{cpus: '2', pids: 9}}, reservations: {{devices: [{card}]}}}}}}"
    exported = exporter.export(SHOP.replace("  db:\n", f"  db:\n    {deploy}\n    tmpfs: ['/run:size=64m']\n"))

    assert exported.pod("db")["containers"][0]["resources"] == {"limits": {"cpu": "2"}}
    for field in (
        "deploy.resources.limits.pids: not converted",
        "deploy.resources.reservations.devices: not converted",
    ):
        assert f"services.db.{field}" in exported.said
    assert "services.db.tmpfs: sizes and modes are left out" in exported.said
