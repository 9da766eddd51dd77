"""What lab 11 says of its numbers, and the two losses in plain PyTorch on the bundled network."""

import numpy as np
import torch
from claiming import Claims

from labsupport.core import bundled
from labsupport.core.network import catalog


def given(names):
    """The bundled network as a module, its `fire4` and `fire3`, and the lab's two pictures."""
    made = catalog.recipe("squeezenet1_1")
    module = catalog.loaded(made, "auto").module.eval().requires_grad_(False)
    network = names["network"]
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (network.mean, network.std))
    content_layer, style_layer = module.features[6], module.features[4]
    return {
        "module": module, "content_layer": content_layer, "style_layer": style_layer,
        "photo": names["content"], "painting": names["painted"], "mean": mean, "std": std,
    }  # fmt: skip


claims = Claims(
    elsewhere={
        "In the last row, at 0.1, only parts of it can be found, and at 0.01 a texture of strokes "
        "is left.": "names two columns of a picture that was looked at"
    },
    given=given,
)


@claims.claim(
    "The shallower the layer, the more of the photograph comes back.",
    "Their correlations are low and have no order, because little more than outlines is left.",
)
def _ladder(alike):
    first, second, third, *deep = alike.values()
    assert first > second > third > max(deep), alike
    assert max(deep) < third - 0.1, alike


@claims.claim("With the division, maps of zeros have a loss of 1 at any layer.")
def _nothing(network, photo, style):
    for layer in ("fire3", "fire4"):
        code = network.activations(photo, [layer])[layer]
        assert torch.equal((0 * code - code).square().sum() / code.square().sum(), torch.ones(()))
        assert style.content_losses(network, photo, photo, [layer])[layer] == 0


@claims.claim("leaves the matrix as it was.", "The content loss is above 1")
def _shuffled(same, content_loss, tiny_agrees, agree):
    assert tiny_agrees
    assert agree
    assert same, "the matrix changed"
    assert content_loss > 1.1, f"the content loss is {content_loss:.2f}"


@claims.claim("With deeper layers the spots become curved strokes.")
def _pieces(tiles, network, wave, style):
    """A texture from more layers is nearer to the painting at the deepest of them."""
    losses = (style.style_losses(network, one, wave, ["fire5"])["fire5"] for one in tiles[1:])
    far = [float(one) for one in losses]
    assert far[0] > 2 * far[-1], far


def grid():
    """The losses of the kept figure, (3, 4): a row for the style layers, a column for the ratio."""
    table = np.genfromtxt(bundled.path("style/grid.csv"), delimiter=",", names=True)
    return tuple(table[name].reshape(3, 4) for name in ("ratio", "content", "style"))


@claims.claim(
    "From left to right the loss of the content rises from 0.04 to 1.39, and that of the style "
    "falls from 0.53 to 0.03.",
    "From left to right the content gives way to the style.",
)
def _trade():
    ratio, content, of_style = grid()
    assert ratio[2].tolist() == [10, 1, 0.1, 0.01]
    assert [round(float(one), 2) for one in content[2, [0, 3]]] == [0.04, 1.39], content[2]
    assert [round(float(one), 2) for one in of_style[2, [0, 3]]] == [0.53, 0.03], of_style[2]
    assert (np.diff(content[2]) > 0).all(), content[2]
    assert (np.diff(of_style) < 0).all(), of_style


@claims.claim("With `relu1_1` alone the colors come in dots, and the castle stays whole.")
def _rows():
    _, content, _ = grid()
    assert (content[0] < 0.15).all(), f"its content is lost: {content[0]}"
    assert (np.diff(content[:, 1:], axis=0) > 0).all(), "deeper style does not cost more content"


@claims.claim("Only $x$ changes.")
def _steps(steps_agree):
    assert len(steps_agree) == 5
    assert all(steps_agree), steps_agree


@claims.claim("So the content of one picture can be painted in the style of another.")
def _plain(plain, style, network, content, painted):
    picture = plain["picture"].detach().clamp(0, 1)
    before, after = (
        style.style_losses(network, one, painted, ["fire3"])["fire3"].item()
        for one in (content, picture)
    )
    kept = style.content_losses(network, picture, content, ["fire4"])["fire4"].item()
    assert after < before / 2, (before, after)
    assert kept < 1, kept


@claims.claim("In the style's colors the macaw is blue and ochre, like the print.")
def _colours(ways, macaw, colours_agree, inside):
    assert colours_agree
    assert inside.float().mean() > 0.5
    own = chroma(macaw)
    alike = {
        name: torch.cosine_similarity(chroma(one), own, dim=0).item() for name, one in ways.items()
    }
    assert alike["luminance"] > alike["matched"] > alike["style"], alike
    assert alike["style"] < 0.8, alike


def chroma(image):
    """What is left of an image without its luminance."""
    eye = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (image - (eye * image).sum(1, keepdim=True)).flatten()


@claims.claim("They must be equal, without any tolerance.")
def _shapes(shapes):
    assert shapes == ((512, 14, 14), (64, 224, 224)), shapes


@claims.claim("The paper also says that L-BFGS worked best.")
def _optimizers(ends):
    assert ends["L-BFGS"][1] < ends["Adam"][1], ends
    assert ends["L-BFGS"][0] == ends["Adam"][0], "they start apart"


@claims.claim('so a picture "in this style" has to be dark too.')
def _dark(night, content, hubble):
    assert hubble.mean() < 0.1, hubble.mean()
    assert night.mean() < content.mean() - 0.03, (content.mean(), night.mean())


@claims.claim("The texture that is made from it has the colors of both everywhere.")
def _halves(losses, texture, halves):
    assert all(value < 0.1 for value in losses.values()), losses
    apart = [
        (one[..., :128].mean((2, 3)) - one[..., 128:].mean((2, 3))).abs().sum().item()
        for one in (halves, texture)
    ]
    assert apart[1] < apart[0] / 3, f"left and right differ in their colors: {apart}"


@claims.claim("A Gram matrix is C × C at any size, because it is summed over the positions.")
def _sizes(matrix, maps):
    assert matrix.shape == (maps.shape[1], maps.shape[1])


@claims.claim("It refuses before the first step and names the largest size that fits")
def _refused(network, style):
    size = (4000, 6000)
    few = style.memory_needed(network, ["fire3"], size) // 4
    height, width = style.largest_size(network, ["fire3"], size, few)
    assert height < 2100
    assert abs(width / height - 1.5) < 0.01
