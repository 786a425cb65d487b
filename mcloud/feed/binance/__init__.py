"""Live trades from Binance: from streams, and from REST what the streams did not deliver."""
