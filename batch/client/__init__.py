"""HTTP, pace and retries: the way to the token API."""
