"""What goes wrong with files, in words for a user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from resyn.errors import PassingFault, RunError

#: Codes that s3fs does not make a PermissionError; a HEAD request with a stale token is a 400.
_REFUSALS = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "400", "403"}


#: What machines, network file systems and stores with answers like 503 say of trouble that passes.
_PASSING = {
    *(errno.EIO, errno.EREMOTEIO, errno.EBUSY, errno.EAGAIN, errno.ESTALE),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
}


class ChangedError(OSError):
    """The content of a file is no longer what it was when its tag was taken."""


def is_refusal(error: BaseException) -> bool:
    """True when a store does not grant what was asked: no rights, or credentials that fail."""
    lacking = type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError")
    return lacking or isinstance(error, PermissionError) or error_code(error) in _REFUSALS


def is_passing(error: BaseException) -> bool:
    """True when the same call may succeed later: a store or file system out of reach or busy."""
    if is_refusal(error):
        return False
    if isinstance(error, ConnectionError | TimeoutError) or _from_store(error):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns what files and stores raise into RunError, in one line that begins with `where`.

    Where `is_passing` says so it is a PassingFault. Without the chain of causes: it would be
    printed where a worker's error is.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or _from_store(error):
            kind = PassingFault if is_passing(error) else RunError
            raise kind(f"{where}: {failure_cause(error)}") from None
        raise


def _from_store(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")


def failure_cause(error: BaseException) -> str:
    """A failure in one clause: the cause and the remedy.

    Of a store's answer it gives the code alone, because its message may repeat parts of the
    request.
    """
    code = error_code(error)
    if is_refusal(error):
        found = code or type(error).__name__
        return f"access denied ({found}); check the credentials in the environment and their rights"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the device; free some and run the same command again"
    if code:
        found = f"the store answered {code}"
    elif _from_store(error):
        found = f"{type(error).__name__}: the store cannot be reached"
    else:
        found = f"{type(error).__name__}: {first_line(error)}"
    return f"{found}; the same command resumes"


def error_code(error: BaseException) -> str:
    """The code of an object store's answer, like AccessDenied; empty when there is none."""
    for candidate in (error, error.__cause__, error.__context__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its class when it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
