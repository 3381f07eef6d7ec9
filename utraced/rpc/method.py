"""What a method of the protocol is: one class of parameters, with its name, result, errors and kind of access.

Classes of this kind stand in ``api``; ``handlers`` holds the functions that carry them out.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from msgspec import Meta, Struct

from utraced.errors import UtracedError
from utraced.model import Index, Pid

Result = TypeVar("Result")
Access = Literal["looks", "changes"]


class Method(Struct, Generic[Result], frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Parameters of a method; subclass it as ``class Attach(Method[Attached], frozen=True)``.

    ``method`` is the name on the wire, ``access`` whether a read-only session may call it, ``errors`` those besides
    the ones every method can give (invalid_params, internal_error, limit_exceeded), ``creates`` whether the reply
    brings a new id, which no event may name before, ``follows`` whether it comes after all events told so far.
    """

    method: ClassVar[str] = ""
    access: ClassVar[Access] = "looks"
    errors: ClassVar[tuple[type[UtracedError], ...]] = ()
    creates: ClassVar[bool] = False
    follows: ClassVar[bool] = False
    result: ClassVar[Any] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Note the result's type, told as ``Method[Result]``."""
        super().__init_subclass__(**options)
        for base in getattr(cls, "__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Struct):
                cls.result = get_args(base)[0]


class TargetMethod(Method[Result], Generic[Result], frozen=True, kw_only=True):
    """A method that names a process, by ``pid`` or by ``pidfd``.

    ``pid``: the process, in the pid namespace of the daemon.  ``pidfd``: instead, the index in the packet of a
    descriptor of pidfd_open(2).  ``start_time``: refuse a process that started at another time, in clock ticks after
    boot as ``process.info`` tells: its pid was reused.
    """

    pid: Pid | None = None
    pidfd: Index | None = None
    start_time: Annotated[int, Meta(ge=0)] | None = None


class Registry:
    """The methods one daemon offers, by name."""

    def __init__(self) -> None:
        self.methods: dict[str, type[Method[Any]]] = {}

    def add(self, cls: type[Method[Any]]) -> None:
        """Add a method; two of one name are a mistake of ours."""
        if not cls.method or cls.method in self.methods:
            raise ValueError(f"{cls.__name__}: method name {cls.method!r} is empty or taken")
        self.methods[cls.method] = cls
