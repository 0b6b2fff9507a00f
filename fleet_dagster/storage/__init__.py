"""The lake (Delta), the control database (SQL) and the one door for writes between them."""
