"""Behaviour of single collections, which the modules of ``apis`` register.

    @check("pubsub.projects.topics")
    def check_topic(cloud: Cloud, change: Change) -> None: ...

``answer`` replaces the common method of a call. The others run within the common methods
``create``, ``patch``, ``update`` and ``delete``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from .call import Call
from .names import Json

if TYPE_CHECKING:
    from .cloud import Cloud

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Change:
    """A resource that is about to be stored."""

    call: Call
    name: str
    resource: Json
    before: Json | None
    """The resource as it was; None for a new one."""

    @property
    def is_new(self) -> bool:
        return self.before is None


Answer: TypeAlias = Callable[["Cloud", Call], Json]
OnChange: TypeAlias = Callable[["Cloud", Change], None]
OnDelete: TypeAlias = Callable[["Cloud", Call, Json], None]


class Hooks(Generic[Function]):
    """Functions by the method or collection that they are for; a decorator that registers one."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}

    def __call__(self, *names: str) -> Callable[[Function], Function]:
        def register(function: Function) -> Function:
            for name in names:
                assert name not in self._functions, name
                self._functions[name] = function
            return function

        return register

    def get(self, name: str) -> Function | None:
        return self._functions.get(name)


answer: Hooks[Answer] = Hooks()
"""Answer a call, by the id of its method."""
new_id: Hooks[Callable[[], str]] = Hooks()
"""Make the id of a new resource of a collection whose ids are the server's."""
check: Hooks[OnChange] = Hooks()
"""Refuse a new or changed resource of a collection that breaks a rule."""
complete: Hooks[OnChange] = Hooks()
"""Set what the server sets in a new or changed resource of a collection."""
before_delete: Hooks[OnDelete] = Hooks()
"""Refuse the deletion of a resource of a collection."""
after_delete: Hooks[OnDelete] = Hooks()
"""Change what depends on a deleted resource of a collection."""
