"""Own tools of the end-to-end tests; they share no code with what they judge."""
