"""AI model slots: who is asked what, how a model is kept from doing harm, and what became of each question."""
