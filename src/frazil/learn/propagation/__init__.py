"""Labels spread over what lies near in feature space: graphs, neighbours, files, pictures, pseudo-labels."""
