"""Make `weights/bundled/ganspace.safetensors`: components of the bundled generator's W, aligned to published ones.

    python -m tools.bundle_components PUBLISHED.safetensors OUT.safetensors [--samples 4000000]

They are computed here, from the bundled mapping network alone. PUBLISHED holds the components of StyleGAN2-FFHQ as
GANSpace's authors number them (`ganspace.comp` [80, 512]); of it only the order and the signs are taken, so that what
the authors say of "component 21" is said of ours too. Then: python -m weights.manifest
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

import generators
from directions.components import Components, ComponentSettings, save_components
from directions.finding import find_components

ALIKE = 0.6  # |cosine| from which a component counts as a published one; the last of them are turned among themselves.


def aligned(components: Components, published: Tensor) -> Components:
    """The components in the order and with the signs of published ones [K, D]; the rest keep the places between."""
    cosines = components.directions @ published.T
    places: list[int | None] = [None] * len(components)
    for own in range(len(components)):
        wanted = int(cosines[own].abs().argmax())
        if cosines[own, wanted].abs() >= ALIKE and places[wanted] is None:
            places[wanted] = own
    rest = iter([own for own in range(len(components)) if own not in places])
    order = torch.tensor([next(rest) if own is None else own for own in places])
    signs = torch.where(cosines[order, torch.arange(len(order))] < 0, -1.0, 1.0)
    return replace(components, directions=signs[:, None] * components.directions[order],
                   deviations=components.deviations[order], shares=components.shares[order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("published", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=4_000_000)
    given = parser.parse_args()
    published = load_file(given.published)["ganspace.comp"]
    checkpoint = given.out.with_suffix(".checkpoint")
    with tqdm(total=given.samples, disable=None) as bar:
        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        found = find_components(generators.load("bundled"), ComponentSettings(samples=given.samples),
                                checkpoint=checkpoint, on_step=show)
    made = aligned(found, published)
    save_components(given.out, made, dtype=torch.float16)
    cosines = (made.directions * published).sum(dim=1)
    print(f"cosines: first 30 at least {float(cosines[:30].min()):.4f}, first 60 {float(cosines[:60].min()):.4f}")


if __name__ == "__main__":
    main()
