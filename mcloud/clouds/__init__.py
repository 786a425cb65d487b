"""Both clouds behind one set of interfaces. The functions that open them are in ``factory``."""
