"""The report page that shows runs side by side, sample by sample."""
