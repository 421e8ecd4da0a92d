"""Packages import one way only, and heavy or outward-facing libraries are imported in one place."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lstmcast

SOURCE = Path(lstmcast.__file__).parent
# from the ground up; a part may import from lower layers and from itself, not from its neighbours
LAYERS = (
    ("errors", "arrays", "sections"),
    ("files", "stop"),
    ("runs",),
    ("data",),
    ("network",),
    ("training", "forecasting"),
    ("config",),
    ("reports",),
    ("gradients", "experiment"),
    ("doctor", "sweeps"),
    ("api", "cli"),
    ("__main__",),
)
HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer}
# library → the parts that may import it
OUTSIDE = {
    "numba": {"network"},
    "torch": {"training", "network", "gradients", "doctor", "experiment"},
    "matplotlib": {"api", "experiment", "reports"},
    "jinja2": {"reports"},
    "mlflow": {"training"},
    "onnxruntime": {"network"},
    "onnxscript": {"network"},
    "markupsafe": {"reports"},
    "typer": {"cli"},
    "click": set(),
    "rich": {"cli", "reports"},
    "yaml": {"config"},
    "safetensors": {"training"},
    "PIL": {"training"},
    "pandas": {"experiment"},
    "tensorboard": set(),
    "scipy": set(),
}


def imported(tree):
    """Yield the dotted names that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def wrong_edges(source):
    """Return what is imported against the layers, as lines for people."""
    wrong = []
    for path in sorted(source.rglob("*.py")):
        part = path.relative_to(source).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        if part not in HEIGHT:
            wrong.append(f"{part}: in no layer")
            continue
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            head, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if name.startswith("."):
                wrong.append(f"{path.name}: relative import {name}")
            elif head in OUTSIDE and part not in OUTSIDE[head]:
                wrong.append(f"{part}/{path.name}: {head}")
            elif head == "lstmcast" and target not in (part, "__version__") and HEIGHT.get(target, 99) >= HEIGHT[part]:
                wrong.append(f"{part}/{path.name}: {name}")
    return wrong


def file_of(source, name):
    """Return the file that a dotted name is imported from, relative to the package; None: it is not the package's."""
    head, *parts = name.split(".")
    if head != "lstmcast":
        return None
    for length in range(len(parts), -1, -1):
        at = source.joinpath(*parts[:length])
        for path in (at.with_suffix(".py"), at / "__init__.py"):
            if length and path.is_file():
                return str(path.relative_to(source))
    return None


def circle(source):
    """Return files that import one another in a circle, wherever in them the imports stand; empty: there is none."""
    graph = {}
    for path in source.rglob("*.py"):
        needed = {file_of(source, name) for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
        graph[str(path.relative_to(source))] = sorted(needed - {None})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_files_import_each_other_in_a_circle():
    assert circle(SOURCE) == []


# what the doctor may take from the rest of the package: it examines other people's programs, and trains nothing
DOCTORS = {
    "arrays", "data.batches", "data.user_file", "doctor", "errors", "gradients.report", "gradients.trace",
    "network.description", "network.numpy_engine", "network.parameters", "sections",
}  # fmt: skip


def beyond_the_doctors(source):
    """Return what the doctor imports that it may not, as lines for people."""
    wrong = []
    for path in sorted((source / "doctor").rglob("*.py")):
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            part = name.removeprefix("lstmcast.")
            allowed = any(part == may or part.startswith(f"{may}.") for may in DOCTORS)
            if name.startswith("lstmcast.") and not allowed:
                wrong.append(f"{path.name}: {name}")
    return wrong


def test_the_doctor_takes_little_from_the_rest():
    assert beyond_the_doctors(SOURCE) == []


def test_a_doctor_that_takes_more_is_noticed(tmp_path):
    (tmp_path / "doctor" / "search").mkdir(parents=True)
    file = tmp_path / "doctor" / "search" / "new.py"
    file.write_text("from lstmcast.errors import InvalidError\nfrom lstmcast.doctor import wording\n")
    assert beyond_the_doctors(tmp_path) == []
    file.write_text("def f():\n    from lstmcast.config.load import load\n")
    assert beyond_the_doctors(tmp_path) == ["new.py: lstmcast.config.load.load"]


@pytest.mark.parametrize("inside", ["", "def f():\n    ", "if TYPE_CHECKING:\n    "])
def test_a_circle_of_files_is_found(tmp_path, inside):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("from lstmcast.data.series import read\n")
    (tmp_path / "data" / "series.py").write_text("from lstmcast.data import batches\n")
    (tmp_path / "data" / "batches.py").write_text("import numpy\n")
    assert circle(tmp_path) == []
    (tmp_path / "data" / "batches.py").write_text(inside + "from lstmcast.data.series import read\n")
    assert set(circle(tmp_path)) == {"data/series.py", "data/batches.py"}


def test_packages_import_one_way():
    assert wrong_edges(SOURCE) == []


@pytest.mark.parametrize(
    ("where", "statement"),
    [
        ("data/new.py", "from lstmcast.cli import main"),
        ("data/new.py", "import lstmcast.network.engine"),
        ("data/new.py", "from lstmcast import experiment"),
        ("data/new.py", "def f():\n    from lstmcast.training.trainer import fit"),
        ("data/deeper/new.py", "if 1:\n    import lstmcast.config.load as load"),
        ("data/new.py", "from . import batches"),
        ("data/new.py", "from ..network import engine"),
        ("training/new.py", "from lstmcast.forecasting.metrics import rmse"),
        ("forecasting/new.py", "from lstmcast.training.checkpoints import Checkpoint"),
        ("network/new.py", "from lstmcast.training.trainer import fit"),
        ("errors.py", "from lstmcast.runs import Run"),
        ("config/build.py", "from lstmcast.reports import plots"),
        ("cli/new.py", "from lstmcast import nothing_known"),
        ("unknown/new.py", ""),
        ("forecasting/new.py", "import torch.nn"),
        ("cli/new.py", "from matplotlib.figure import Figure"),
        ("experiment/new.py", "import typer"),
    ],
)
def test_a_wrong_edge_is_found(tmp_path, where, statement):
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).write_text(statement + "\n")
    assert len(wrong_edges(tmp_path)) == 1


@pytest.mark.parametrize(
    ("where", "statement"),
    [
        ("cli/new.py", "from lstmcast import __version__, runs\nimport typer"),
        ("data/new.py", "from lstmcast.data import batches\nfrom lstmcast.errors import InvalidError"),
        ("training/new.py", "import torch\nimport numpy as np\nimport lstmcast.network.engine"),
        ("__init__.py", "__version__ = '1'"),
    ],
)
def test_a_right_edge_is_left_alone(tmp_path, where, statement):
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).write_text(statement + "\n")
    assert wrong_edges(tmp_path) == []
