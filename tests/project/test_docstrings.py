"""What the doors offer says what it takes, gives and raises, in a form that tools can read: Args, Returns, Raises.

Read from the source, so that no package is imported. A door is an `__init__.py` with `__all__`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

PACKAGES = ("shared", "feature_pipeline", "training")
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
NOTHING = {"None", "NoReturn"}
# Made by these, and raised: what is said of the exception stands under its class.
ERRORS = {"UserError": "UserError", "link_error": "UserError", "Cancelled": "Cancelled", "OtherForm": "OtherForm",
          "TruncatedAudio": "TruncatedAudio", "Busy": "Busy"}
SHAPE = re.compile(r"\(n_\w+")  # as in (n_samples,)
UNIT = re.compile(r"second|minute|points|fraction|probabilit|share|rate|ratio|\b0 …|≤ 0|\bHz|\bdB|number|percent|%")
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def doors() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("__init__.py"))
            if "__all__" in path.read_text(encoding="utf-8")]


def name_of(path: Path) -> str:
    return path.parent.relative_to(ROOT).as_posix().replace("/", ".")


def module(name: str) -> ast.Module:
    path = ROOT.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def offered(door: Path) -> Iterator[tuple[str, FunctionNode | ast.ClassDef]]:
    """(where, definition) of each function and class on the door that is ours and defined in its package."""
    tree = ast.parse(door.read_text(encoding="utf-8"))
    names = next(ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
    homes = {alias.asname or alias.name: (node.module, alias.name) for node in tree.body
             if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(names) <= set(homes)
    for name in names:
        home, original = homes[name]
        for node in module(home).body:
            if isinstance(node, (FunctionNode, ast.ClassDef)) and node.name == original:
                yield f"{home}.{original}", node


def sections(text: str) -> dict[str, str]:
    """The sections of a docstring by name, without their indentation; "" for what stands before them."""
    found, current = {"": ""}, ""
    for line in text.splitlines():
        if line.removesuffix(":") in SECTIONS and line.endswith(":"):
            current = line[:-1]
            found[current] = ""
        elif current and line and not line.startswith(" "):
            current = ""
        else:
            found[current] += f"{line}\n"
    return found


def entries(section: str) -> dict[str, str]:
    """name → text of the entries of a section; "start, end: …" is an entry of both."""
    found: dict[str, str] = {}
    current: list[str] = []
    for line in section.splitlines():
        head = re.match(r" {4}(\w+(?:, \w+)*):(?= )", line)
        if head:
            current, line = head[1].split(", "), line[head.end():]
        for name in current:
            found[name] = f"{found.get(name, '')} {line.strip()}"
    return found


def is_array(annotation: ast.expr | None) -> bool:
    return annotation is not None and "ndarray" in ast.unparse(annotation)


def is_float(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation) in ("float", "float | None")


def raised(function: FunctionNode) -> set[str]:
    """The exceptions of ours that the function itself raises."""
    made = [node.exc.func if isinstance(node.exc, ast.Call) else node.exc for node in ast.walk(function)
            if isinstance(node, ast.Raise) and node.exc is not None]
    return {ERRORS[node.id] for node in made if isinstance(node, ast.Name) and node.id in ERRORS}


def of_values(what: str, found: dict[str, str], annotations: dict[str, ast.expr | None]) -> Iterator[str]:
    """What is wrong with the entries of these parameters or fields."""
    for name, annotation in annotations.items():
        if name not in found:
            yield f"{what}: nothing is said of {name}"
        elif is_array(annotation) and not SHAPE.search(found[name]):
            yield f"{what}: {name} has no shape"
        elif is_float(annotation) and not UNIT.search(f"{name}: {found[name]}".replace("rate:", "")):
            yield f"{what}: {name} has no unit or range"


def of_function(where: str, node: FunctionNode, text: str | None, is_method: bool) -> Iterator[str]:
    if text is None:
        yield f"{where}: no docstring"
        return
    parts = sections(text)
    returns = parts.get("Returns") or parts.get("Yields")
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    takes = {one.arg: one.annotation for one in arguments if one.arg not in ("self", "cls")}
    documented = entries(parts.get("Args", ""))
    yield from of_values(where, documented, takes)
    if node.args.kwarg is None and (extra := set(documented) - set(takes)):
        yield f"{where}: there is no {', '.join(sorted(extra))}"
    gives = "None" if node.returns is None else ast.unparse(node.returns)
    # What a method without arguments gives is its summary, as with a property.
    if gives not in NOTHING and not returns and (takes or not is_method):
        yield f"{where}: no Returns"
    if is_array(node.returns) and not SHAPE.search(returns or ""):
        yield f"{where}: what is returned has no shape"
    for error in sorted(raised(node) - set(entries(parts.get("Raises", "")))):
        yield f"{where}: it raises {error}"


def of_class(where: str, node: ast.ClassDef) -> Iterator[str]:
    text = ast.get_docstring(node)
    if text is None:
        yield f"{where}: no docstring"
        return
    decorators = {ast.unparse(one).split("(")[0] for one in node.decorator_list}
    if "dataclass" in decorators or any(ast.unparse(base) == "NamedTuple" for base in node.bases):
        fields = {one.target.id: one.annotation for one in node.body
                  if isinstance(one, ast.AnnAssign) and not one.target.id.startswith("_")}
        yield from of_values(where, entries(sections(text).get("Attributes", "")), fields)
    for member in node.body:
        if isinstance(member, FunctionNode) and (member.name == "__init__" or not member.name.startswith("_")):
            doc = ast.get_docstring(member)
            if any("property" in ast.unparse(one) for one in member.decorator_list):
                if doc is None:
                    yield f"{where}.{member.name}: no docstring"
            elif member.name == "__init__":
                doc = doc if "Args:" in (doc or "") else text
                yield from of_function(f"{where}", member, doc, True)
            else:
                yield from of_function(f"{where}.{member.name}", member, doc, True)


@pytest.mark.parametrize("door", doors(), ids=name_of)
def test_what_a_door_offers_says_what_it_takes_gives_and_raises(door):
    found = list(offered(door))
    assert found
    wrong = [line for where, node in found for line in (
        of_class(where, node) if isinstance(node, ast.ClassDef)
        else of_function(where, node, ast.get_docstring(node), False))]
    assert wrong == []


def test_there_are_doors():
    assert {"shared.audio", "shared.wer", "shared.serving", "training.studio"} <= set(map(name_of, doors()))


def test_what_is_missing_is_found():
    """The rules on a function and a class that break each of them once."""
    bad = ast.parse('''
def find(samples: np.ndarray, rate: float, name: str) -> np.ndarray:
    """Find it.

    Args:
        samples: the sound.
        rate: how fast.
        nmae: of it.

    Returns:
        The sound.
    """
    raise UserError("no")

@dataclass(frozen=True)
class Span:
    """A span.

    Attributes:
        start: where it begins.
    """
    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start

    def cut(self, at: float) -> Span:
        """Cut it.

        Args:
            at: seconds from the start.
        """
''').body
    assert list(of_function("find", bad[0], ast.get_docstring(bad[0]), False)) == [
        "find: samples has no shape", "find: rate has no unit or range", "find: nothing is said of name",
        "find: there is no nmae", "find: what is returned has no shape", "find: it raises UserError"]
    assert list(of_class("Span", bad[1])) == [
        "Span: start has no unit or range", "Span: nothing is said of end", "Span.length: no docstring",
        "Span.cut: no Returns"]
