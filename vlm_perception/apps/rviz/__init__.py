"""RViz 2 with a picture of every camera that the node has."""
