"""The text that ships with Onehop."""
