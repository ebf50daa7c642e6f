"""One article a file: feature pyramids from images."""
