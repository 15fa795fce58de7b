"""Tools for built datasets: verify, show, publish, rebuild, caption; and panoptic quality."""
