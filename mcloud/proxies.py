"""Makes every client use the proxy that the environment names in the same way.

boto3, requests, gRPC, websockets and urllib read the same variables in different ways: gRPC reads
only lower-case names, boto3 and gRPC ignore ``all_proxy``, and most of them accept only addresses
with a scheme. By default, all of them send requests for this machine to the proxy as well.
"""

from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
SCHEMES = ("http", "https")


def settle(environment: MutableMapping[str, str]) -> None:
    """Change the variables of proxies into a form that all clients understand.

    Requests to loopback use no proxy. Without a proxy nothing is changed, because on macOS any of
    these variables would hide the settings of the system.
    """
    found = {name: _url(_value(environment, f"{name}_proxy")) for name in (*SCHEMES, "all", "grpc")}
    if not any(found.values()):
        return
    for scheme in SCHEMES:
        url = found[scheme] or found["all"]
        if url:
            _set(environment, f"{scheme}_proxy", url)
    spared = [name.strip() for name in _value(environment, "no_proxy").split(",") if name.strip()]
    # A star means every host only if it is the whole value.
    if spared != ["*"]:
        _set(environment, "no_proxy", ",".join(dict.fromkeys((*spared, *LOOPBACK))))
    if own := environment.get("no_grpc_proxy"):
        environment["no_grpc_proxy"] = ",".join(dict.fromkeys((*own.split(","), *LOOPBACK)))


def _value(environment: MutableMapping[str, str], name: str) -> str:
    """Return the value as urllib reads it: the lower-case name has precedence, even if empty."""
    return environment.get(name, environment.get(name.upper(), "")).strip()


def _url(value: str) -> str:
    return value if not value or "://" in value else f"http://{value}"


def _set(environment: MutableMapping[str, str], name: str, value: str) -> None:
    environment[name] = environment[name.upper()] = value
