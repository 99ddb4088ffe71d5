"""Packs alike into an archive that runs wherever it is unpacked."""
