"""What the tables and figures of this paper are made by."""
