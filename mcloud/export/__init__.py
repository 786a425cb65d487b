"""Write candles and trades of a site as files that other tools read: Parquet and CSV.

``tables`` has their columns, ``partitions`` reads them from a site, a month or a day at a time, and
``destinations`` writes the files.
"""
