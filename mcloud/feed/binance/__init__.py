"""Trades live from Binance: streams for speed, REST for what the streams did not bring."""
