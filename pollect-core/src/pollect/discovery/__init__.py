"""Which plugins are installed, what they need, and what to install for the rest."""
