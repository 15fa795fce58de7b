"""What many runs say together: records, rankings, tables, comparisons, leaderboard pages."""
