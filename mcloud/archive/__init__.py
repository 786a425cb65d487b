"""The raw archive of a site: list, read and compare its objects and blocks, and compact it.

``Site.archive`` also shows the trades of staged objects, so nothing here depends on where they are.
"""
