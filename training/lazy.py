"""Tables of functions whose names are known before the functions, and torch, are loaded."""

import pkgutil
from collections import UserDict
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class LazyTable(UserDict[str, Value], Generic[Value]):
    """Values by name, each imported when it is first asked for.

    Args:
        places: "module:value" by name.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        super().__init__()
        self.data: dict[str, Any] = dict(places)

    def __getitem__(self, name: str) -> Value:
        if isinstance(self.data[name], str):
            self.data[name] = pkgutil.resolve_name(self.data[name])
        return self.data[name]
