"""The command line. `main` runs one verb and returns its exit code.

``app`` turns errors into messages and exit codes, ``parser`` knows the options,
``output`` writes; each verb is a function in ``verbs``, ``demo`` or ``bench``.
"""

from .app import main

__all__ = ["main"]
