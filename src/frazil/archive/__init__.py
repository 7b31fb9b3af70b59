"""From products to an archive of maps: batches on one machine or many, what there is, and what it amounts to."""
