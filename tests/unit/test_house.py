"""The measurable rules of CONTRIBUTING and docs/architecture.md, held against the tree; each notices a breach."""

import ast
import re
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("shared", "services", "local", "cli", "bench", "recipes", "clients", "observability")
MODULE_LINES, TEST_LINES = 300, 400
FOLDER_MODULES = 20
READING_PATHS = {"From a click to a pair": 25, "From a retrain request to a candidate": 28}
"""Sections of docs/architecture.md that list modules in reading order, and how many each may have."""

PURE = re.compile(
    r"bisect|collections|copy|dataclasses|datetime|decimal|difflib|enum|fractions|functools|hashlib|heapq|hmac|html"
    r"|itertools|json|math|operator|pathlib|re|statistics|string|textwrap|types|typing|unicodedata|uuid|zlib"
    r"|datasketch|msgspec|networkx|numpy|scipy|services|shared"
)
"""What a module in `domain/` may import; of `services` and `shared` the contracts in pyproject.toml say which."""
IMPURE = re.compile(
    r"\b(?:datetime\.now|utcnow|date\.today|uuid[14]|default_rng\(\)|open\(|read_(?:text|bytes)|is_file\(|exists\()"
)
"""Calls by which a pure module's imports would still reach a clock, chance or a file."""

NO_VERBS = re.compile(
    r"(?:An?|All|Any|As|At|Both|By|Each|Every(?:thing|body)?|For|From|How|If|In|It|Its|Newest|Nothing|No|Nobody|Not|Of|On|One|Only"
    r"|Ours?|Same|Some(?:thing|body)?|Such|Tells|That|The|These|This|Those|Two|Until|Up|What|When|Where|Whether|Which|Whose|Who|Why"
    r"|With|Without|[a-z`(‖\d]\S*|\w*s of)\b"
)
"""How docstrings begin that do not begin with a verb."""

LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
PATH = re.compile(
    r"`((?:shared|services|local|cli|bench|recipes|clients|observability|migrations|tests|docs|helm)/[\w./-]*)`"
)
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/glossary.md")
"""Whose paths in code quotes must exist; the links of every page must."""


def list_modules(root: Path, folders: Iterable[str]) -> Iterator[Path]:
    return (path for folder in folders for path in sorted((root / folder).rglob("*.py")))


def find_long(root: Path, folders: Iterable[str], most: int) -> list[str]:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in list_modules(root, folders)}
    return [f"{path.relative_to(root)}: {lines} lines" for path, lines in lengths.items() if lines > most]


def find_full(root: Path, folders: Iterable[str], most: int) -> list[str]:
    counts: dict[Path, int] = {}
    for path in list_modules(root, folders):
        counts[path.parent] = counts.get(path.parent, 0) + 1
    return [f"{folder.relative_to(root)}: {count} modules" for folder, count in counts.items() if count > most]


def measure_functions(root: Path, folders: Iterable[str]) -> list[int]:
    """Lines of every function, from `def` to its end."""
    trees = (ast.parse(path.read_text("utf-8")) for path in list_modules(root, folders))
    functions = (node for tree in trees for node in ast.walk(tree))
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def find_impure(root: Path) -> list[str]:
    """What modules in `domain/` (or a `domain.py`) import or call beyond values."""
    modules = [path for path in list_modules(root, ["services"]) if "domain" in {*path.parts, path.stem}]
    imported = [(path, name) for path in modules for name in list_imports(path) if not PURE.fullmatch(name)]
    called = [(path, found[0]) for path in modules for found in IMPURE.finditer(path.read_text("utf-8"))]
    return [f"{path.relative_to(root)}: {name}" for path, name in [*imported, *called]]


def list_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def find_verbless(root: Path, folders: Iterable[str]) -> list[str]:
    """Public functions whose docstring begins with no verb; properties are nouns, and `Raises:` may stand alone."""
    return [
        f"{path.relative_to(root)}: {node.name}: {text.splitlines()[0]}"
        for path in list_modules(root, folders)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        if (text := ast.get_docstring(node)) and NO_VERBS.match(text)
        if not any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


def find_dead_links(root: Path, page: Path) -> list[str]:
    targets = LINK.findall(page.read_text("utf-8"))
    return [f"{page.relative_to(root)}: {target}" for target in targets if not (page.parent / target).exists()]


def find_dead_paths(root: Path, page: Path) -> list[str]:
    named = PATH.findall(page.read_text("utf-8"))
    return [f"{page.relative_to(root)}: {path}" for path in named if not (root / path).exists()]


def list_reading_path(page: str, title: str) -> list[str]:
    """The modules that a section of a page names, in its order."""
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return PATH.findall(section)


def list_pages() -> list[Path]:
    pages = [path for folder in ("docs", "recipes", "clients") for path in sorted((ROOT / folder).rglob("*.md"))]
    return [*sorted(ROOT.glob("*.md")), *(page for page in pages if "node_modules" not in page.parts)]


def test_no_module_is_longer_than_a_reader_wants() -> None:
    assert find_long(ROOT, PRODUCT, MODULE_LINES) == []


def test_no_test_file_is_longer_than_a_reader_wants() -> None:
    assert find_long(ROOT, ["tests"], TEST_LINES) == []


def test_half_of_all_functions_are_short_and_nine_tenths_fit_on_half_a_screen() -> None:
    lengths = measure_functions(ROOT, PRODUCT)
    assert statistics.median(lengths) <= 7
    assert statistics.quantiles(lengths, n=10)[-1] <= 20


def test_a_public_functions_docstring_begins_with_a_verb() -> None:
    assert find_verbless(ROOT, PRODUCT) == []


def test_no_folder_is_crowded() -> None:
    assert find_full(ROOT, [folder for folder in (*PRODUCT, "tests") if folder != "shared"], FOLDER_MODULES) == []


def test_domain_knows_values_only() -> None:
    assert find_impure(ROOT) == []


@pytest.mark.parametrize("title", READING_PATHS)
def test_a_reading_path_is_short_and_leads_through_modules_that_exist(title: str) -> None:
    listed = list_reading_path((ROOT / "docs/architecture.md").read_text("utf-8"), title)
    assert 5 < len(listed) <= READING_PATHS[title]
    assert [path for path in listed if not (ROOT / path).is_file()] == []


def test_what_the_pages_link_to_exists() -> None:
    assert [dead for page in list_pages() for dead in find_dead_links(ROOT, page)] == []


def test_the_paths_that_a_newcomer_is_shown_exist() -> None:
    assert [dead for page in PAGES for dead in find_dead_paths(ROOT, ROOT / page)] == []


def test_every_decision_record_is_in_the_index_under_its_title() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text("utf-8")
    records = {path: path.read_text("utf-8").splitlines()[0] for path in sorted(folder.glob("0*.md"))}
    lines = {path: title.removeprefix("# ").replace(". ", " | [", 1) for path, title in records.items()}
    assert [path.name for path, line in lines.items() if f"| {line}]({path.name})" not in index] == []


@pytest.mark.parametrize("part", ["Context", "Decision", "Rejected", "Cost"])
def test_every_decision_record_tells_its(part: str) -> None:
    records = sorted((ROOT / "docs/decisions").glob("0*.md"))
    assert [path.name for path in records if not re.search(rf"^\*\*{part}\b", path.read_text("utf-8"), re.M)] == []


def test_each_rule_notices_a_breach(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("## Path\n\n1. `shared/gone.py`, `shared/one.py`\n\n## Next\n\n2. `shared/two.py` [to](gone.md)\n")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/one.py").write_text("def one():\n    return 1\n")
    (tmp_path / "shared/two.py").write_text("")
    assert find_long(tmp_path, ["shared"], 1) == ["shared/one.py: 2 lines"]
    assert find_full(tmp_path, ["shared"], 1) == ["shared: 2 modules"]
    assert measure_functions(tmp_path, ["shared"]) == [2]
    (tmp_path / "shared/two.py").write_text('def two():\n    """What two is."""\n')
    assert find_verbless(tmp_path, ["shared"]) == ["shared/two.py: two: What two is."]
    (tmp_path / "services/new/domain").mkdir(parents=True)
    (tmp_path / "services/new/domain/rule.py").write_text("import math\nimport boto3\nNOW = datetime.now(UTC)\n")
    found = ["services/new/domain/rule.py: boto3", "services/new/domain/rule.py: datetime.now"]
    assert find_impure(tmp_path) == found
    assert find_dead_links(tmp_path, page) == ["page.md: gone.md"]
    assert find_dead_paths(tmp_path, page) == ["page.md: shared/gone.py"]
    assert list_reading_path(page.read_text(), "Path") == ["shared/gone.py", "shared/one.py"]
