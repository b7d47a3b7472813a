"""Measurements: ratios taken side by side in one run, with the hardware, date and commit they were taken on."""
