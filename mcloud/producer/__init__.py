"""The producer: feed → pack → spool → one sender for each site → queue."""
