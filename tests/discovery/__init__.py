"""A Google Cloud made of Google's discovery documents, for tests.

The documents say which methods an API has, which query parameters and bodies a method takes, and
what it answers. A request that does not fit them is refused with status 400, and noted in the log.
Resources live in memory, under their names. What the documents do not say (defaults, generated
fields, rules that span several resources) is in the modules of ``apis``, one for each API.

``server.serving`` runs it on loopback. Clients reach it in two ways: as the HTTPS proxy of the
environment, which answers for ``*.googleapis.com`` itself and refuses every other host, or under
``http://127.0.0.1:PORT/<api>/``.

The server checks what is written down. It does not know what Google allows to whom, what is slow,
and what is refused for reasons that no document gives.
"""
