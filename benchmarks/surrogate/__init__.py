"""Formation energies and stability against DFT labels, beside published models on the same compositions."""
