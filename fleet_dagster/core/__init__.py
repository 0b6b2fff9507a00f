"""Pure numerics: arrays in, arrays out. No frames, no storage, no clock."""
