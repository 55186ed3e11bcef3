"""Finds the workers of a run, and which of them this process is: TF_CONFIG, Slurm, Kubernetes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

TF_CONFIG_EXAMPLE = (
    'TF_CONFIG=\'{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
    '"task": {"type": "worker", "index": 0}}\''
)
# The types of jobs that train. If there is a chief, it is the first worker.
TRAINING = ("chief", "worker")


def find_resolver(environ: Mapping[str, str] = os.environ) -> Any:
    """Returns the `tf.distribute` cluster resolver for this process.

    TF_CONFIG is used if it is set, otherwise a Slurm step (SLURM_PROCID), otherwise a pod of a
    Kubernetes Indexed Job (KUBERNETES_SERVICE_HOST). The latter has never been run on a cluster.
    TensorFlow's resolver uses the addresses of nodes, so each pod needs `hostNetwork: true` and a
    node of its own.

    Args:
        environ: The environment variables. Default: those of this process.

    Raises:
        ValueError: None of them is there, or one holds impossible values.
        ImportError: The process runs in a pod without the `kubernetes` package.
    """
    if environ.get("TF_CONFIG"):
        import tensorflow as tf

        parse(environ["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_PROCID" in environ:
        return _slurm(environ)
    if "KUBERNETES_SERVICE_HOST" in environ:
        return _kubernetes(environ)
    raise ValueError(
        "multi_worker: expected TF_CONFIG, a Slurm step (srun) or a pod of a Kubernetes Indexed "
        f"Job, found none. Set in every worker, with its own index: {TF_CONFIG_EXAMPLE}"
    )


def parse(text: str) -> tuple[list[str], int]:
    """Reads TF_CONFIG: the addresses of all workers, chief first, and the position of this one.

    Raises:
        ValueError: TF_CONFIG cannot be used. The error shows an example of one that can.

    >>> parse(
    ...     '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, '
    ...     '"task": {"type": "worker", "index": 0}}'
    ... )
    (['a:1', 'b:1'], 1)
    """

    def wrong(expected: str, received: Any) -> ValueError:
        return ValueError(
            f"TF_CONFIG: expected {expected}, received {received!r}. It looks like this: "
            f"{TF_CONFIG_EXAMPLE}"
        )

    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise wrong("JSON", text) from error
    cluster = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not any(cluster.get(job) for job in TRAINING):
        raise wrong("a cluster with workers", text)
    if not isinstance(task, dict):
        raise wrong("a task with type and index", task)
    kind, index = task.get("type"), task.get("index")
    if kind not in TRAINING or kind not in cluster:
        raise wrong(f"a task type of the cluster among {TRAINING}", kind)
    if not isinstance(index, int) or not 0 <= index < len(cluster[kind]):
        raise wrong(f"a task index from 0 to {len(cluster[kind]) - 1}", index)
    addresses = [address for job in TRAINING for address in cluster.get(job, [])]
    if len(set(addresses)) < len(addresses):
        raise wrong("an address for each worker", addresses)
    return addresses, index + (len(cluster.get("chief", [])) if kind == "worker" else 0)


def place_in_cluster(resolver: Any) -> tuple[list[str], int]:
    """The addresses of all workers and the position of this one, from any resolver."""
    cluster = resolver.cluster_spec().as_dict()
    task = {"type": resolver.task_type, "index": resolver.task_id}
    return parse(json.dumps({"cluster": cluster, "task": task}))


def is_only_worker(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether TF_CONFIG is not set or names this worker only."""
    return not environ.get("TF_CONFIG") or len(parse(environ["TF_CONFIG"])[0]) == 1


def _slurm(environ: Mapping[str, str]) -> Any:
    """The resolver for a Slurm step."""
    import tensorflow as tf
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as slurm

    kinds = tf.distribute.cluster_resolver
    missing = [
        name
        for name in ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
        if name not in environ
    ]
    if missing:
        raise ValueError(
            f"Slurm: expected a step, found no {', '.join(missing)}. Instead, start the workers "
            "with srun"
        )
    hosts = slurm.expand_hostlist(environ["SLURM_STEP_NODELIST"])
    if sorted(hosts) != hosts:
        # The resolver sorts the names of nodes as text, and would assign tasks to the wrong nodes
        # if Slurm has another order.
        raise ValueError(
            f"Slurm: expected nodes whose names sort as Slurm orders them, received {hosts}, to "
            f"which TensorFlow would assign the wrong tasks. Instead, set {TF_CONFIG_EXAMPLE}"
        )
    if "CUDA_VISIBLE_DEVICES" in environ or shutil.which("nvidia-smi"):
        return kinds.SlurmClusterResolver()
    # The resolver counts tasks by GPUs, and finds none without GPUs. So it is told that each task
    # has one GPU, and only its list of addresses is used.
    found = kinds.SlurmClusterResolver(
        gpus_per_node=int(environ["SLURM_STEP_NUM_TASKS"]), gpus_per_task=1, auto_set_gpu=False
    )
    spec = found.cluster_spec()
    return kinds.SimpleClusterResolver(
        spec,
        task_type=found.task_type,
        task_id=found.task_id,
        num_accelerators={"GPU": 0},
        rpc_layer="grpc",
    )


def _kubernetes(environ: Mapping[str, str], client: Any = None) -> Any:
    """The resolver for a pod of a Kubernetes Indexed Job."""
    import tensorflow as tf

    index, name = environ.get("JOB_COMPLETION_INDEX"), environ.get("HOSTNAME", "")
    if index is None or not name.endswith(f"-{index}"):
        raise ValueError(
            "Kubernetes: expected a pod of an Indexed Job (completionMode: Indexed), which has "
            f"JOB_COMPLETION_INDEX and the host name <job>-<index>; found index {index!r}, host "
            f"name {name!r}. Or set {TF_CONFIG_EXAMPLE}"
        )
    if client is None:
        try:
            from kubernetes import client as api
            from kubernetes import config
        except ImportError as error:
            raise ImportError(
                "Kubernetes: expected the package kubernetes, which is not installed: "
                "pip install kubernetes"
            ) from error
        # TensorFlow's resolver would load the configuration of a user outside of the cluster.
        config.load_incluster_config()
        client = api.CoreV1Api()
    selector = f"job-name={name[: -len(index) - 1]}"
    found = tf.distribute.cluster_resolver.KubernetesClusterResolver(
        {"worker": [selector]}, override_client=client
    )
    # The resolver sorts pods by name, where 10 comes before 2, and does not know which one this is.
    pods = client.list_pod_for_all_namespaces(label_selector=selector).items
    names = sorted(pod.metadata.name for pod in pods)
    mine = [i for i, pod in enumerate(names) if pod.startswith(f"{name}-")]
    if len(mine) != 1:
        raise ValueError(
            f"Kubernetes: expected one pod {name}-... with the label {selector}, found {names}"
        )
    found.task_type, found.task_id = "worker", mine[0]
    return found
