"""Cars of the Volkswagen group, by the portal that the EU Data Act made the group open."""
