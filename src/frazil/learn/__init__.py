"""Networks: the only place where torch is imported."""
