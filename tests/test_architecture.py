"""The house rules that can be read off the syntax trees: import directions, sizes, names."""

import ast
import statistics
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("dialog_service", "train")

# Each layer may import itself and the layers before it.
LAYERS = (
    ("dialog_service.errors",),
    ("dialog_service.models.distributions",),
    ("dialog_service.models",),
    ("dialog_service",),
    ("dialog_service.serving", "dialog_service.client", "dialog_service.v1", "train"),
    ("dialog_service.load",),
    ("dialog_service.cli", "dialog_service.bench", "dialog_service.service_flags"),
)
# What a part may import of this project, where that is less than its layer allows.
NARROWED = {
    "dialog_service.models": ("dialog_service.models", "dialog_service.errors"),
    "dialog_service.client": (
        "dialog_service.client",
        "dialog_service.v1",
        "dialog_service.errors",
    ),
    "dialog_service.load": (
        "dialog_service.load",
        "dialog_service.client",
        "dialog_service.v1",
        "dialog_service.errors",
    ),
    "dialog_service.serving": ("dialog_service",),
    "train": (
        "train",
        "dialog_service.models",
        "dialog_service.text",
        "dialog_service.vocabulary",
        "dialog_service.checkpoint",
        "dialog_service.compiled",
        "dialog_service.generation",
        "dialog_service.selection",
        "dialog_service.diversity",
        "dialog_service.spinning",
        "dialog_service.errors",
    ),
}
# The only modules that may import a library.
HOLDERS = {
    "grpc": ("servicer", "interceptors", "app", "health", "client"),
    "redis": ("cache", "live_diversity", "embedded_redis"),
    "prometheus_client": ("metrics", "app"),
    "opentelemetry": ("telemetry",),
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "base"}
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file and what its syntax tree tells."""

    path: Path
    source: str = field(repr=False)

    @property
    def name(self) -> str:
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> frozenset[str]:
        """Absolute names; ``from a import b`` counts as ``a.b``, since b may be a module."""
        names = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: relative import"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        return frozenset(names)

    @property
    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))


def read_modules() -> list[Module]:
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    modules = [Module(path.relative_to(ROOT), path.read_text(encoding="utf-8")) for path in paths]
    return [module for module in modules if not is_within(module.name, "dialog_service.v1")]


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def layer(name: str) -> int:
    """The number of the most specific entry of LAYERS that holds ``name``."""
    fits = [
        (len(package), number)
        for number, packages in enumerate(LAYERS)
        for package in packages
        if is_within(name, package)
    ]
    return max(fits)[1]


def is_own(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def wrong_directions(module: Module) -> set[str]:
    """Imports of this project that point up, or out of the part that holds the module."""
    own = {name for name in module.imports if is_own(name)}
    wrong = {name for name in own if layer(name) > layer(module.name)}
    for part, allowed in NARROWED.items():
        if is_within(module.name, part):
            wrong |= {n for n in own if not any(is_within(n, package) for package in allowed)}
    return wrong


def wrong_libraries(module: Module) -> set[str]:
    """Imports of libraries that other modules hold."""
    stem = module.path.stem
    return {
        name
        for name in module.imports
        for library, holders in HOLDERS.items()
        if name.startswith(library) and stem not in holders
    }


def foreign_to_models(module: Module) -> set[str]:
    """Imports of a models module besides torch, pydantic, this project and the standard library."""
    allowed = sys.stdlib_module_names | {"torch", "pydantic", *PACKAGES}
    return {name for name in module.imports if name.partition(".")[0] not in allowed}


def code_lines(module: Module, function: Function) -> int:
    """Lines of the body with code on them: no docstring, no comments, no blank lines."""
    has_docstring = ast.get_docstring(function, clean=False) is not None
    body = function.body[1:] if has_docstring else function.body
    if not body:
        return 0
    lines = module.source.splitlines()[body[0].lineno - 1 : function.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


def nesting(node: ast.AST) -> int:
    """Depth of blocks inside blocks; ``elif`` is no deeper than its ``if``, ``with`` adds none."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and child in node.orelse and isinstance(child, ast.If)
        opens = isinstance(child, BLOCKS) and not is_elif
        deepest = max(deepest, nesting(child) + opens)
    return deepest


def parameter_count(function: Function) -> int:
    """Parameters a caller may name, without self and its like."""
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls", "ctx")])


def is_command(function: Function) -> bool:
    """A command of a command line: its parameters are the flags."""
    decorators = map(ast.unparse, function.decorator_list)
    return any(".command" in decorator or ".callback" in decorator for decorator in decorators)


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    """``except Exception: pass`` and its like."""
    caught = "BaseException" if handler.type is None else ast.unparse(handler.type)
    does_nothing = all(
        isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        for s in handler.body
    )
    return does_nothing and caught in ("Exception", "BaseException")


def compared_kinds(module: Module) -> list[ast.expr]:
    """Comparisons of a config's tag, where ``match config.kind`` belongs."""
    compared = [node.left for node in ast.walk(module.tree) if isinstance(node, ast.Compare)]
    return [node for node in compared if isinstance(node, ast.Attribute) and node.attr == "kind"]


def words_of(name: str) -> set[str]:
    """The words of a dotted name."""
    return set(name.replace("_", ".").split("."))


MODULES = read_modules()
each_module = pytest.mark.parametrize("module", MODULES, ids=[m.name for m in MODULES])


@each_module
def test_imports_point_one_way(module: Module):
    assert not wrong_directions(module)


@each_module
def test_libraries_stay_with_the_modules_that_hold_them(module: Module):
    assert not wrong_libraries(module)


def declared(package: str) -> set[str]:
    """The libraries that a package may count on once it is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    more = extras["train"] if package == "train" else [*extras["embedded"], *extras["otel"]]
    requirements = [*project["dependencies"], *more]
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_library_imported_is_declared(package: str):
    providers = packages_distributions()
    tops = {
        name.partition(".")[0]
        for module in MODULES
        if is_within(module.name, package)
        for name in module.imports
    }
    foreign = (tops & set(providers)) - set(PACKAGES)  # an extra may not be installed
    assert not {
        top
        for top in foreign
        if not set(map(canonicalize_name, providers[top])) & declared(package)
    }


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if is_within(m.name, "dialog_service.models")],
    ids=lambda m: m.name,
)
def test_models_need_torch_and_pydantic_only(module: Module):
    assert not foreign_to_models(module)


def test_generation_and_counting_know_no_event_loop():
    knowing = {module.name for module in MODULES if "asyncio" in module.imports}
    assert not knowing & {"dialog_service.generation", "dialog_service.diversity"}


@each_module
def test_functions_are_short_shallow_and_take_few_parameters(module: Module):
    for function in module.functions:
        where = f"{module.path}:{function.lineno} {function.name}"
        assert code_lines(module, function) <= 60, where
        assert nesting(function) <= 2, where
        assert parameter_count(function) <= 5 or is_command(function), where


@pytest.mark.parametrize("package", PACKAGES)
def test_most_functions_are_very_short(package: str):
    lengths = [
        code_lines(module, function)
        for module in MODULES
        if is_within(module.name, package)
        for function in module.functions
    ]
    assert statistics.median(lengths) <= 10
    assert statistics.quantiles(lengths, n=10)[-1] <= 30


@each_module
def test_files_and_names(module: Module):
    assert module.source.count("\n") <= 400
    assert not words_of(module.name) & FORBIDDEN_NAMES


@each_module
def test_no_handler_swallows_everything(module: Module):
    handlers = [node for node in ast.walk(module.tree) if isinstance(node, ast.ExceptHandler)]
    assert not any(map(swallows_everything, handlers))


@each_module
def test_only_command_lines_print(module: Module):
    calls = [node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
    assert not prints or module.path.stem in ("cli", "__main__")


@each_module
def test_variants_are_told_apart_by_matching_their_config(module: Module):
    assert not compared_kinds(module) or module.path.stem == "config"


BAD = Module(
    Path("dialog_service/models/bad_utils.py"),
    '''
import grpc.aio
import numpy as np
import redis
from dialog_service import generation
from dialog_service.serving import app
from train import trainer

def f(a, b, c, d, *, e, g):
    """Not code."""
    for x in a:
        if x:
            y = 1  # code

            # not code
        elif y:
            while b:
                pass
    try:
        f()
    except Exception:
        ...
    return config.kind == "gaussian"
''',
)


def test_the_rules_can_fail():
    (function,) = BAD.functions
    handler = next(node for node in ast.walk(BAD.tree) if isinstance(node, ast.ExceptHandler))
    upwards = {"dialog_service.generation", "dialog_service.serving.app", "train.trainer"}
    assert wrong_directions(BAD) == upwards
    assert wrong_libraries(BAD) == {"grpc.aio", "redis"}
    assert foreign_to_models(BAD) == {"grpc.aio", "numpy", "redis"}
    assert code_lines(BAD, function) == 11
    assert nesting(function) == 3
    assert parameter_count(function) == 6
    assert swallows_everything(handler)
    assert len(compared_kinds(BAD)) == 1
    assert "utils" in words_of(BAD.name)
