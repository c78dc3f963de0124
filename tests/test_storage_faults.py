"""Which faults of files and stores pass: another try is worth it, or it is not."""

from __future__ import annotations

import errno
import os

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from s3fs.errors import translate_boto_error

from resyn.errors import PassingFault, RunError
from resyn.storage_faults import explained


def answer(code: str, status: int) -> BaseException:
    """What s3fs raises for a store's answer."""
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(ClientError(response, "PutObject"))  # pyright: ignore


def system(number: int) -> OSError:
    """What the operating system raises."""
    return OSError(number, os.strerror(number))


PASSING = [
    *(answer(code, 503) for code in ("503", "SlowDown", "ServiceUnavailable")),
    *(answer(code, 500) for code in ("500", "InternalError")),
    EndpointConnectionError(endpoint_url="http://store"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    system(errno.ETIMEDOUT),
    system(errno.EIO),
]
LASTING = [
    *(answer(code, 403) for code in ("403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId")),
    answer("NoSuchBucket", 404),
    NoCredentialsError(),
    *(system(number) for number in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT)),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_an_outage_passes(error: BaseException):
    with (
        pytest.raises(PassingFault, match=r"^there: .*the same command resumes$"),
        explained("there"),
    ):
        raise error


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_a_refusal_and_a_full_disk_do_not(error: BaseException):
    with pytest.raises(RunError, match=r"^there: ") as end, explained("there"):
        raise error
    assert not isinstance(end.value, PassingFault)
