"""Size: memory, CPU and seconds to the marker of large hours, many projects and a long backlog."""
