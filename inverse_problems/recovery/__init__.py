"""Find the image behind measurements: objectives, optimisers, starts, and all of it at once."""
