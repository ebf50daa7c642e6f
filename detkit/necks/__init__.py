"""One article a file: parts that mix levels."""
