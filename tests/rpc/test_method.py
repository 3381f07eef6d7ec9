import msgspec
import pytest

from tests.rpc.table import Echo, Echoed, Peek, registry
from utraced.rpc.method import Method, Registry, TargetMethod


class Watch(TargetMethod[Echoed], frozen=True):
    method = "test.watch"
    access = "changes"


class Nameless(Method[None], frozen=True):
    pass


def test_the_result_is_told_by_the_base() -> None:
    assert Echo.result is Echoed
    assert Watch.result is Echoed


def test_a_method_looks_unless_it_says_otherwise() -> None:
    assert Echo.access == "looks"
    assert Watch.access == "changes"


def test_parameters_refuse_unknown_members() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `x`"):
        msgspec.convert({"x": 1}, Echo)


def test_a_target_is_named_by_pid_or_pidfd() -> None:
    assert msgspec.convert({"pid": 5}, Watch) == Watch(pid=5)
    assert msgspec.convert({"pidfd": 0, "start_time": 9}, Watch) == Watch(pidfd=0, start_time=9)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"pid": 0}, Watch)


def test_the_registry_holds_each_name_once() -> None:
    methods = registry()
    assert methods.methods == {"test.echo": Echo, "test.peek": Peek}
    with pytest.raises(ValueError, match="taken"):
        methods.add(Echo)
    with pytest.raises(ValueError, match="empty"):
        Registry().add(Nameless)
