"""Queues keep their messages when the embedded AWS is started again on another port.

ministack saves each queue under its URL, which names the port.
"""

from collections.abc import Callable
from typing import Any

from ministack.services import sqs


def install() -> None:
    """Patch ministack to move the queues that it loads to the address of this process."""
    sqs.load_persisted_state = _moving(sqs.load_persisted_state)


def _moving(load: Callable[[Any], None]) -> Callable[[Any], None]:
    def load_and_move(data: Any) -> None:
        load(data)
        for (account, region, url), queue in sqs._queues.all_items():
            here = sqs._queue_url_for_account(account, queue["name"])
            if url != here:
                sqs._queues.pop_scoped(account, region, url)
                queue["url"] = here
                sqs._queues.set_scoped(account, region, here, queue)
                sqs._queue_name_to_url.set_scoped(account, region, queue["name"], here)

    return load_and_move
