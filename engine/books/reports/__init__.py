"""Questions to the books: each module answers one, as plain rows; money in fen, times in ms."""
