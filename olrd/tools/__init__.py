"""What is done with a built dataset: verify, show, publish, rebuild, caption; and panoptic quality."""
