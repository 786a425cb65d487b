"""The raw archive of a site: list, read and compare its objects and blocks, and compact it."""
