"""Several runs together: comparisons, records, rankings, tables and leaderboard pages."""
