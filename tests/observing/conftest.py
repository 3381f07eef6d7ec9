from tests.tracing.conftest import play

__all__ = ["play"]
