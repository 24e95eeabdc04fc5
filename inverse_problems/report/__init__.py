"""Tables and figures of the inverse problems."""
