"""Engines that start runs elsewhere, and the files in the artifact store through which such a run is heard."""
