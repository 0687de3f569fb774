"""A month of real flights as events, applied by a worker that is killed halfway."""
