"""Outages of the services that our own server offers."""

import asyncio
from typing import Final

import grpc

from mcloud.local.gcp.rpc import Refusal
from mcloud.local.outage import SLOW, Outages

SERVICES: Final = {"Pub/Sub": "queue", "Firestore": "candles"}
LOOK: Final = 0.1  # seconds between two looks at whether a hanging service is back


class Gate:
    """Passed by every call before it is answered; a call whose client leaves is cancelled here."""

    def __init__(self, outages: Outages) -> None:
        self._outages = outages

    async def __call__(self, product: str) -> None:
        service = SERVICES.get(product)
        outage = self._outages.on(service)
        if outage is None:
            return
        if outage.how == "refuse":
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
        if outage.how == "throttle" and self._outages.throttles(service):
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, f"Quota exceeded for {product}.")
        if outage.how == "slow":
            await asyncio.sleep(SLOW)
        while outage is not None and outage.how == "hang":
            await asyncio.sleep(LOOK)
            outage = self._outages.on(service)
