"""Read a command's section of the parameters into a frozen dataclass, strictly."""

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from common.errors import UserError

T = TypeVar("T")
KINDS = {
    "float_type": "a number",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "dataclass_exact_type": "a mapping",
}


class Section(dict[str, Any]):
    """Carry part of a parameter file together with where it stands there.

    Args:
        content: the keys and values.
        file: the file, as shown in messages.
        keys: the keys that lead to this part.
    """

    def __init__(self, content: Mapping[str, Any], file: str, keys: tuple[str, ...] = ()) -> None:
        super().__init__(content)
        self.file = file
        self.keys_to_here = keys

    @property
    def where(self) -> str:
        """Return `<file>:<dotted keys>`, as `load` takes it."""
        return f"{self.file}:{'.'.join(self.keys_to_here)}"

    def at(self, key: str) -> "Section":
        """Return the mapping under `key`.

        Raises:
            UserError: there is no such key, or no mapping under it.
        """
        name = ".".join((*self.keys_to_here, key))
        if key not in self:
            raise UserError(f"{self.file}: unknown key '{name}'{_nearest(key, self)}")
        if not isinstance(self[key], Mapping):
            raise UserError(f"{self.file}: '{name}' expected a mapping, got {_shown(self[key])}")
        return Section(self[key], self.file, (*self.keys_to_here, key))


def section(paper: str, profile: str | None, *keys: str, root: Path = Path()) -> Section:
    """Return the part of a paper's parameters under `keys`.

    `params.yaml` is read if it was composed for `profile` (or `profile` is None), else
    `conf/<paper>/<profile>.yaml`, which holds the same as the paper's section there.

    Raises:
        UserError: a file is missing or malformed, or a key unknown (the nearest one is named).
    """
    path = root / "params.yaml"
    if profile is None or (path.exists() and _read(path).get("profile") == profile):
        found = Section(_read(path), "params.yaml").at(paper)
    else:
        folder = root / "conf" / paper
        path = folder / f"{profile}.yaml"
        if not path.exists():
            known = sorted(file.stem for file in folder.glob("*.yaml"))
            raise UserError(f"unknown profile '{profile}' of {paper}{_nearest(profile, known)}")
        found = Section(_read(path), f"conf/{paper}/{profile}.yaml")
    for key in keys:
        found = found.at(key)
    return found


def load(section: Mapping[str, Any], cls: type[T], where: str | None = None) -> T:
    """Return `section` as an instance of `cls`, a frozen pydantic dataclass that forbids extras.

    Args:
        section: keys and values, as read from YAML.
        cls: the dataclass; its fields say what is allowed.
        where: `<file>:<dotted keys>` for messages; a `Section` knows its own.

    Raises:
        UserError: a key is unknown, missing or ill-typed, in one sentence.
    """
    if where is None:
        where = section.where if isinstance(section, Section) else "params.yaml:"
    file, _, prefix = where.partition(":")
    try:
        # As JSON, because strict mode then still takes a list for a tuple and a mapping for a
        # nested dataclass, and an integer for a float, but no text for a number.
        return TypeAdapter(cls).validate_json(json.dumps(section, default=str), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # A misspelt key shows up twice, as unknown and as missing; only the first helps.
    unknown = [p for p in problems if p["type"] == "unexpected_keyword_argument"]
    problem = (unknown or problems)[0]
    keys, value = _walk(section, problem["loc"])
    name = ".".join(part for part in (prefix.strip(), *map(str, keys)) if part)
    kind = problem["type"]
    if kind == "unexpected_keyword_argument":
        message = f"unknown key '{name}'{_nearest(str(keys[-1]), _fields(cls, keys[:-1]))}"
    elif kind in ("missing", "missing_argument"):
        message = f"missing key '{name}'"
    elif kind in ("value_error", "assertion_error"):
        message = f"'{name}': {problem['msg'].partition(', ')[2]}"
    else:
        expected = KINDS.get(kind) or problem["msg"].removeprefix("Input should be ")
        message = f"'{name}' expected {expected}, got {_shown(value)}"
    raise UserError(f"{file.strip()}: {message}")


class _Loader(yaml.SafeLoader):
    """Read numbers as YAML 1.2 does; PyYAML takes 1e-3 for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path.name}: not found; start the command in the repository") from None
    except UnicodeDecodeError:
        raise UserError(f"{path.name}: not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "cannot be parsed"
        raise UserError(f"{path.name}{line}: not valid YAML ({what})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path.name}: expected a mapping, got {_shown(content)}")
    return content


def _walk(section: Any, loc: tuple[int | str, ...]) -> tuple[list[int | str], Any]:
    """Follow `loc` as far as the data goes; a union adds tags that are no keys."""
    keys: list[int | str] = []
    value = section
    for part in loc:
        if isinstance(value, Mapping):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        keys.append(part)
    return keys, value


def _fields(cls: Any, keys: list[int | str]) -> list[str]:
    """Return the field names of the dataclass that `keys` lead to from `cls`."""
    for key in keys:
        if dataclasses.is_dataclass(cls):
            cls = typing.get_type_hints(cls).get(str(key))
        else:
            cls = next((a for a in reversed(typing.get_args(cls)) if a is not Ellipsis), None)
        options = [a for a in typing.get_args(cls) if dataclasses.is_dataclass(a)]
        if options and type(None) in typing.get_args(cls):
            cls = options[0]
    return [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _nearest(name: str, known: Iterable[str]) -> str:
    known = [str(k) for k in known]
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known: {', '.join(sorted(known))})" if known else ""


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    return f"{value!r} ({type(value).__name__})"
