"""Where incidents begin: quality of the correlator on simulated cascades (Q7) and on PetShop (Q6)."""
