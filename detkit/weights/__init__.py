"""Reading, converting and transplanting weights."""
