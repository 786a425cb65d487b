"""The compaction function on Lambda. A schedule calls it, and it compacts the raw archive once.

Environment: RAW_BUCKET, STAGING_BUCKET (if the site has one) and CONTROL_TABLE; from the platform
AWS_REGION, the credentials and, embedded, AWS_ENDPOINT_URL.
"""

import os
from typing import Any

from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.control import DynamoControl
from mcloud.processor.compaction import compact_scheduled


def handler(event: Any, context: Any) -> dict[str, int]:
    """Compact until shortly before the timeout. An exception is an error of the function."""
    region = os.environ["AWS_REGION"]
    s3 = make_client("s3", region)
    staging = os.environ.get("STAGING_BUCKET")
    done = compact_scheduled(
        S3Archive(s3, os.environ["RAW_BUCKET"]),
        S3Archive(s3, staging) if staging else None,
        DynamoControl(make_client("dynamodb", region), os.environ["CONTROL_TABLE"]),
        context.get_remaining_time_in_millis() / 1000,
    )
    return {"objects": done.objects, "blocks": done.blocks}
