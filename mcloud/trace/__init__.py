"""The way of a trade through the pipeline, from the records of each place."""
