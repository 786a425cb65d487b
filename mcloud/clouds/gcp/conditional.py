"""Writes of a Firestore document on the condition that nobody changed it."""

from collections.abc import Mapping
from typing import Any

from mcloud.clouds.gcp.client import TIMEOUT, retry


def write(client: Any, document: Any, fields: Mapping[str, Any], update_time: Any) -> Any:
    """Replace the document that has this update time. If it is None, create the document.

    Return the new update time, or None if the stored document has another update time, or exists
    already. The errors are those of the client.
    """
    from google.api_core.exceptions import (
        Aborted,
        AlreadyExists,
        FailedPrecondition,
        InvalidArgument,
        NotFound,
    )

    try:
        if update_time is None:
            written = document.create(fields, timeout=TIMEOUT, retry=retry())
        else:
            option = client.write_option(last_update_time=update_time)
            written = document.update(fields, option=option, timeout=TIMEOUT, retry=retry())
    except (Aborted, AlreadyExists, FailedPrecondition, NotFound):
        return None
    except InvalidArgument as error:
        # The database was restored, so the stored document is older than the given time.
        if "base version" not in str(error):
            raise
        return None
    return written.update_time
