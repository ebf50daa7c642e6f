"""What networks cost: operations, parameters, time, memory."""
