"""The path of a trade through the pipeline, from the records at each stage."""
