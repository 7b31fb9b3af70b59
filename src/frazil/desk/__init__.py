"""The desk: a page on which an analyst sees a scene, labels it, maps it anew, and takes away map, chart and labels."""
