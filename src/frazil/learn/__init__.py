"""Networks: the only place where torch is imported, and only by the modules that cannot do without."""
