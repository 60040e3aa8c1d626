"""The relational side: the record of what happened, and what finance reads."""
