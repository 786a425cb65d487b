"""The state of every site and of this machine: collected, checked for problems, and exported."""
