"""Ways to learn: one file each, one `step` each; the loop knows none of them."""
