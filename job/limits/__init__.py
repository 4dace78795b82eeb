"""How many exchanges may be made, and when."""
