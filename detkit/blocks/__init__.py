"""One article a file: shape in = shape out."""
