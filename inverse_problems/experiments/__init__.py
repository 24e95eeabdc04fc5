"""The experiments of this paper: which problems are solved by which methods."""
