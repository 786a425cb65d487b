"""The cost of the pipeline: list prices, reports, forecasts and advice."""
