"""Tables and figures of this paper, made from what its experiments left."""
