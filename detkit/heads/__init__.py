"""Dense and query heads."""
