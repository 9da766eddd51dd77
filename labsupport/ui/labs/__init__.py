"""The panels and pictures that one lab needs: one module per lecture section."""
