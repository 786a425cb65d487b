"""The embedded Google services: Pub/Sub, Firestore and Cloud Monitoring on one loopback port.

Small servers that speak the real gRPC APIs to the real Google clients, for what mcloud and its
functions use and no more; anything else answers UNIMPLEMENTED and names itself. Ours only because
no maintained package offers them; ``tests/conformance`` holds them to Google's own emulators.
"""
