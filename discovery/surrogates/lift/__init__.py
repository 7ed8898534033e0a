"""Language-interfaced fine-tuning (LIFT, Dinh et al., NeurIPS 2022): language models answer with formation energies."""
