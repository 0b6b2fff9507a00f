"""Between pandas frames, with names and time stamps, and the plain arrays that the numerics take."""
