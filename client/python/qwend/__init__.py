"""qwend - Qwen 3.5 as a service of the operating system, from Python: what goes over the wire."""

from . import errors

__version__ = "0.1.0"
__all__ = ["errors"]
