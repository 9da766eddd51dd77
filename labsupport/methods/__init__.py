"""The methods of the lecture, one module per lecture section."""
