"""What lab 10 says of its numbers, and the loop in plain PyTorch on the bundled network."""

import torch
from claiming import Claims

from labsupport.core.network import catalog

PIXELS_IN_2015, VIADUCT = 1.5, 888


def given(names):
    """The bundled network as a module, its `fire7`, and the lab's photograph."""
    made = catalog.recipe("squeezenet1_1")
    module = catalog.loaded(made, "auto").module.eval().requires_grad_(False)
    network = names["network"]
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (network.mean, network.std))
    layer = module.features[10]
    return {"module": module, "layer": layer, "image": names["photo"], "mean": mean, "std": std}


claims = Claims(given=given)


@claims.claim("Each of the ten steps by hand is the tool's step.")
def _steps(agree):
    assert len(agree) == 10
    assert all(agree), agree


@claims.claim("With $\\delta = x$, half the sum of the squared activations is raised:")
def _energy(frames, network, plain):
    read = network.up_to("fire7")
    for what, dreamed in (("the tool", frames[-1]), ("plain PyTorch", plain["dreamed"])):
        with torch.no_grad():
            before, after = (read(one).square().sum().item() for one in (frames[0], dreamed))
        assert after > 2 * before, f"{what} raises it from {before} to {after}"


@claims.claim("A unit of `fire7` sees at most 143 × 143 pixels.")
def _field(network):
    field = network.layer("fire7").receptive_field
    assert tuple(field) == (143, 143), field


@claims.claim("Octaves carry the added detail, not the picture, to larger copies.")
def _octaves(octaves_agree, copies, ends, photo, carry):
    assert len(octaves_agree) == 3
    assert all(octaves_agree), octaves_agree
    by_picture = torch.nn.functional.interpolate(copies[0] + ends[0].detail, photo.shape[2:])
    by_detail = carry(photo, copies[0], copies[0] + ends[0].detail, lambda x, size: (
        torch.nn.functional.interpolate(x, size)
    ))  # fmt: skip
    apart = [(one - photo).abs().mean() for one in (by_detail, by_picture)]
    assert apart[0] < apart[1] / 2, apart


@claims.claim(
    "**The loop:** the layer's energy is more than 10 times the photograph's after 6 steps, and "
    "more than 40 times after 12.",
    "The probability of all dogs together goes from below 0.1 % to above 95 %.",
)
def _loop(energies, dogs, loop):
    assert torch.allclose(energies, loop.values, rtol=1e-4)
    assert energies[6] > 10, f"after 6 steps it is {energies[6]:.1f} times"
    assert energies[12] > 40, f"after 12 steps it is {energies[12]:.1f} times"
    assert dogs[0] < 0.001, f"the photograph has dogs at {dogs[0]:.4f}"
    assert dogs[12] > 0.95, f"after 12 steps the dogs have {dogs[12]:.4f}"


@claims.claim(
    "With jitter, in the panel, it is slower.",
    "Still the viaduct's probability is below 1 % after ten steps.",
)
def _panel(dream, network, bridge, energies):
    rows = dream.feedback(network, bridge, "fire7", steps=10)
    assert rows.values[10] < energies[10], "jitter does not slow it down"
    first, *_, last = rows.probabilities[:, VIADUCT]
    assert network.categories[VIADUCT] == "viaduct"
    assert first > 0.5, f"the photograph is no viaduct: {first:.3f}"
    assert last < 0.01, f"after ten steps the viaduct has {last:.3f}"


@claims.claim("ten seconds of 480 × 320 pixels")
def _film(films):
    from labsupport.core import bundled

    film = films.read(bundled.path("dreams/zoom.mp4").read_bytes(), most=80, side=480)
    assert film.images.shape[2:] == (320, 480)
    assert abs(film.seconds - 10) < 0.1


@claims.claim("The tolerance is 0.1 of 255, because clipping takes a little away.")
def _moved(settings, moved):
    assert settings == (10, 4, 1.4, 32)
    assert PIXELS_IN_2015 - 0.1 < moved < PIXELS_IN_2015, moved


@claims.claim(
    "The dreams are more than 100 times as far apart as the photographs.",
    "a photograph whose values were changed by 0.0001, on average by less.",
)
def _apart(apart, twin, photo):
    assert apart > 100, f"{apart:.0f} times as far"
    changed = (twin - photo).abs().mean()
    assert 0.5e-4 < changed < 1e-4, changed


@claims.claim("Steps of 12 of 255 give rings and colored noise.")
def _noise(tiles):
    rough = [one.diff(dim=3).abs().mean() for one in tiles]
    assert rough[2] > 2 * rough[0], rough


@claims.claim("118 of ImageNet's 1000 classes are breeds of dogs.")
def _breeds(network):
    names = network.categories
    assert len(names) == 1000
    breeds = names[151:269]
    assert len(breeds) == 118, f"{len(breeds)} breeds"
    assert (breeds[0], breeds[-1]) == ("Chihuahua", "Mexican hairless")


@claims.claim("Set *kept detail* to 0 in its panel.")
def _kept(dream, network, photo, brief):
    pair = torch.cat([photo, photo])
    kept, anew = (
        dream.dream_film(network, pair, "fire5", carry=carry, recipe=brief).images[1]
        for carry in (1.0, 0.0)
    )
    far = [(one - photo).abs().mean() for one in (anew, kept)]
    assert far[1] > 1.3 * far[0], f"the second picture is as far from its photograph: {far}"
