"""Hours of a whole service's life in minutes, under kills, and the proof from the bucket alone."""
