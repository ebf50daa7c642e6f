"""Pictures of a run and of an evaluation; each is drawn from a CSV file of the same name beside it."""
