"""Linear measurements of images."""
