"""What the images hold: a bill of materials that can be handed out, and no version with a known hole."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
IMAGES = ("edge", "slim", "gpu", "mlflow")


@pytest.mark.parametrize("image", IMAGES)
def test_the_bill_of_materials_names_every_package_of_an_image_with_its_hashes(image: str, tmp_path: Path):
    lock, bill = ROOT / f"requirements-{image}.lock", tmp_path / "sbom.json"
    subprocess.run([BIN / "cyclonedx-py", "requirements", lock, "--of", "JSON", "-o", bill], check=True, timeout=120)
    components = json.loads(bill.read_text())["components"]
    pins = re.findall(r"^([\w.-]+)==([\w.!]+)", lock.read_text(), re.MULTILINE)
    assert {(each["name"], each["version"]) for each in components} == set(pins)
    assert all(reference["hashes"] for each in components for reference in each["externalReferences"])


@pytest.mark.parametrize("image", IMAGES)
def test_no_package_of_an_image_has_a_known_hole(image: str):
    lock = ROOT / f"requirements-{image}.lock"
    command = [str(BIN / "pip-audit"), "-r", str(lock), "--no-deps", "--disable-pip", "--format", "json"]
    said = subprocess.run(
        [*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=600, check=False
    )
    packages = json.loads(said.stdout)["dependencies"]
    audited = [each for each in packages if "skip_reason" not in each]
    if not audited:
        pytest.skip("this package index knows no vulnerabilities: nothing could be audited")
    assert len(audited) == len(packages), [each for each in packages if "skip_reason" in each]
    holes = {(each["name"], hole["id"], *hole["fix_versions"]) for each in audited for hole in each["vulns"]}
    assert not holes
