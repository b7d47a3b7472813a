"""Training a StyleGAN2 generator on a folder of pictures: `python -m weights.training.gan --help`, docs/training.md.

The recipe is that of Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020) with the adaptive
augmentation of Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), in plain PyTorch.
"""
