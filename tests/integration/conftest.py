"""The mall of tests/books, for what looks at live state and books together."""

from tests.books.conftest import books_url, mall

__all__ = ["books_url", "mall"]
