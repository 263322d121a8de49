"""Drives a swarm by docker for Python; its argument is the manager's URL. Ends with 0 when everything was as it should be."""

import sys
import time

import docker
from docker import types

SECOND = 1_000_000_000
client = docker.DockerClient(base_url=sys.argv[1])
api = client.api


def until(what, condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def fails(status, words, call):
    try:
        call()
    except docker.errors.APIError as error:
        assert (error.status_code, error.explanation) == (status, words), error
    else:
        raise AssertionError(f"{words}: it succeeded")


def spec(service):
    service.reload()
    return service.attrs["Spec"]


# the swarm and its nodes
assert client.info()["Swarm"]["LocalNodeState"] == "active"
client.swarm.reload()
version = client.swarm.version
client.swarm.update(task_history_retention_limit=7, rotate_worker_token=True)
client.swarm.reload()
assert client.swarm.version > version
assert client.swarm.attrs["Spec"]["Orchestration"] == {"TaskHistoryRetentionLimit": 7}
assert client.swarm.get_unlock_key() == {"UnlockKey": ""}
workers = client.nodes.list(filters={"role": "worker"})
assert len(workers) == 2 and len(client.nodes.list()) == 3
workers[0].update({"Availability": "active", "Role": "worker", "Labels": {"zone": "b"}})
workers[0].reload()
assert workers[0].attrs["Spec"]["Labels"] == {"zone": "b"}

# secrets, configs and networks
secret = client.secrets.create(name="key", data=b"hush", labels={"a": "b"})
assert [each.id for each in client.secrets.list(filters={"name": "key"})] == [secret.id]
config = client.configs.get(client.configs.create(name="conf", data=b"hello").id)
assert config.attrs["Spec"] == {"Name": "conf", "Data": "aGVsbG8=", "Labels": {}}
network = client.networks.create("back", driver="overlay", attachable=True, scope="swarm")
assert (network.attrs["Driver"], network.attrs["Scope"]) == ("overlay", "swarm")

# a service with everything that this client can say
service = client.services.create(
    "bb",
    command=["sleep", "1000"],
    name="web",
    env=["A=B"],
    mode=types.ServiceMode("replicated", 2),
    networks=[types.NetworkAttachmentConfig("back", aliases=["db"])],
    endpoint_spec=types.EndpointSpec(ports={8095: (80, "tcp", "ingress")}),
    secrets=[types.SecretReference(secret.id, "key", mode=0o400)],
    configs=[types.ConfigReference(config.id, "conf", "/conf")],
    resources=types.Resources(mem_limit=64 << 20, cpu_limit=SECOND // 2),
    restart_policy=types.RestartPolicy("on-failure", delay=SECOND, max_attempts=3),
    update_config=types.UpdateConfig(parallelism=2, order="start-first", monitor=SECOND),
    healthcheck=types.Healthcheck(test=["CMD", "true"], interval=SECOND),
    labels={"l": "m"},
    container_labels={"n": "o"},
    mounts=[types.Mount("/v", "vol", "volume"), types.Mount("/t", None, "tmpfs", tmpfs_size=1 << 20)],
    hosts={"q": "1.2.3.4"},
    dns_config=types.DNSConfig(["1.1.1.1"], options=["ndots:2"]),
    constraints=["node.platform.os == linux"],
    preferences=[types.PlacementPreference("spread", "node.labels.zone")],
    maxreplicas=2,
    init=True,
    user="root",
    hostname="h",
    stop_grace_period=SECOND,
    log_driver="json-file",
    cap_add=["NET_ADMIN"],
    cap_drop=["CHOWN"],
)
assert spec(service)["Mode"] == {"Replicated": {"Replicas": 2}}


def running(count):
    tasks = service.tasks({"desired-state": "running"})
    return len(tasks) == count and all(task["Status"]["State"] == "running" for task in tasks)


until("two tasks run", lambda: running(2))
assert service.scale(3)
until("three tasks run", lambda: running(3))
service.reload()
service.update(env=["A=C"], fetch_current_spec=True)
assert spec(service)["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=C"]
assert spec(service)["Mode"] == {"Replicated": {"Replicas": 3}}
until("the update is done", lambda: (service.reload(), service.attrs["UpdateStatus"]["State"])[1] == "completed")
assert [each.name for each in client.services.list(filters={"label": "l=m"})] == ["web"]
task = service.tasks({"desired-state": "running"})[0]
assert api.inspect_task(task["ID"])["Status"]["ContainerStatus"]["PID"] > 0

# the other modes, which this client writes in small letters
everywhere = client.services.create("bb", command=["sleep", "1000"], name="everywhere", mode="global", init=True)
assert spec(everywhere)["Mode"] == {"Global": {}}
until("a task on each node", lambda: len(everywhere.tasks({"desired-state": "running"})) == 3)
talker = client.services.create("bb", command=["sh", "-c", "echo said; exec sleep 1000"], name="talker", init=True)
until("its log", lambda: b"said" in b"".join(talker.logs(stdout=True)))

# what is refused, in the words that programs look for
fails(404, "service nope not found", lambda: client.services.get("nope"))
fails(400, "update out of sequence", lambda: api.update_service(service.id, 1, name="web", task_template=spec(service)["TaskTemplate"]))
fails(409, "secret key already exists", lambda: client.secrets.create(name="key", data=b"x"))
fails(400, "secret 'key' is in use by the following service: web", secret.remove)

for each in (service, everywhere, talker):
    each.remove()
network.remove()
secret.remove()
config.remove()
assert client.services.list() == []
