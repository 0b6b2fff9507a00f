"""Landing: from files and the simulator to durable snapshots."""
