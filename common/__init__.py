"""Parts that at least two of the papers use."""
