"""The pages, and the process that serves them beside health and metrics."""
