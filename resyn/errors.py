"""The two ways a command ends badly; the pipelines turn them into exit codes."""


class UserError(Exception):
    """A wrong call: bad flag, missing input, mismatched fingerprint. Exit code 2.

    The message is one line that names the file or key, the cause and the remedy.
    """


class RunError(Exception):
    """A run that was called rightly and failed: lost workers, NaN loss. Exit code 1."""


class PassingFault(RunError):
    """A RunError that may not come again: a store out of reach. Whoever can try again does so."""
