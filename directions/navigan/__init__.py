"""NaviGAN: directions in the weights of a generator (Cherepkov, Voynov and Babenko 2021)."""
