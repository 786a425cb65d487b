"""Producer: feed → pack → one sender a site → queue."""
