"""The embedded Google services: Pub/Sub, Firestore and Cloud Monitoring on one loopback port.

They are small servers with the real gRPC APIs for the real Google clients. They implement only what
mcloud and its functions use. Any other call is answered with UNIMPLEMENTED and the name of the
missing feature. mcloud implements them because no maintained package does. ``tests/conformance``
compares them with Google's own emulators.
"""
