"""Load the past from the files that Binance publishes, straight into the stores of the sites.

``dumps`` names the files of a period, ``libraries`` finds and fetches them, ``load`` writes one of
them to the sites, and ``run`` does all of it, with a checkpoint for each file.
"""
