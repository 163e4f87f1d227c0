"""Helm's command for machines that have none: what of it the manual and the tests use, by Helm as a library.

Run by the validators' environment, which holds that library, against the cluster of KUBECONFIG.
"""

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Any

import helm_python
import yaml

MINUTE = 60


def merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return both, the second before the first; mappings are merged."""
    merged = dict(first)
    for name, value in second.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if both else value
    return merged


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="helm")
    parser.add_argument("action", choices=["install", "upgrade", "test", "rollback", "uninstall"])
    parser.add_argument("release")
    parser.add_argument("rest", nargs="?", help="the chart, or the revision to roll back to")
    parser.add_argument("--namespace", "-n", required=True)
    parser.add_argument("--values", "-f", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--wait", action="store_const", const="watcher")
    parser.add_argument("--logs", action="store_true")
    parser.add_argument("--timeout", default="5m", help="in whole minutes")
    return parser.parse_args(arguments)


def main(given: argparse.Namespace) -> None:
    config = helm_python.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=given.namespace)
    timeout = int(given.timeout.removesuffix("m")) * MINUTE
    if given.action == "test":
        told = config.test(given.release, timeout=timeout, logs=given.logs)
        sys.stdout.write(f"{told['logs']}\n" if given.logs else "")
        return
    act = getattr(config, given.action)
    if given.action in ("install", "upgrade"):
        files = [yaml.safe_load(Path(file).read_text()) for file in given.values]
        laid: list[dict[str, Any]] = [*files, *map(helm_python.parse_set_string, given.set)]
        values = functools.reduce(merge, laid)
        told = act(given.rest, given.release, values, namespace=given.namespace, timeout=timeout, wait=given.wait)
        sys.stdout.write(f"{told.get('notes') or ''}\n")
    elif given.action == "rollback":
        version = int(given.rest) if given.rest else None
        act(given.release, version=version, timeout=timeout, wait=given.wait)
    else:
        act(given.release, timeout=timeout, wait=given.wait)


if __name__ == "__main__":
    main(parse(sys.argv[1:]))
