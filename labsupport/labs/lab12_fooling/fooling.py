"""Lab 12: push photographs until the network says something else, and try to undo it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.images.perturbations import signed_step
from labsupport.core.network import Network, Prediction
from labsupport.methods import fooling
from labsupport.methods.fooling import DEFENCES, AttackResult, SignLine
from labsupport.ui import declare, figures, ink

DIRECTIONS = {  # and how many steps are taken along the gradient
    "random signs": 0,
    "one step along the gradient's signs": 1,
    "ten small steps along the signs": 10,
    "forty small steps along the signs": 40,
}
_DEFENCES = {"none": "", "save as PNG": "8 bits", "JPEG": "jpeg", "blur": "blur", "noise": "noise"}
_TOWARDS = declare.class_of(label="towards the class", empty="none: away from its own answer")
_FEW = 5  # steps, each a third of eps, where many pictures are attacked
_LINES = 6
_SERIES_WORDS = 26  # letters of a class's name in a legend


# One picture, pushed


@dataclass(frozen=True)
class Pushed:
    """An attack's result; where it took many steps, the probabilities after each of them, the
    start first: (steps + 1, classes)."""

    result: AttackResult
    chances: torch.Tensor | None = None


def pushed(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = _TOWARDS,
    steps: int = declare.choice(DIRECTIONS, label="direction"),
    eps: float = declare.real(4, 0, 16, step=0.5, unit="1/255", label="change ε"),
) -> Pushed:
    """A picture changed by at most `eps` gray values: in so many steps along the signs of the
    gradient, or, where there are none, by random signs."""
    seen, size = images.standard(image, network.input_size[0]), eps / 255
    if steps > 1:
        frames = fooling.pgd.frames(network, seen, target, eps=size, steps=steps)
        results = [frame.result for frame in frames]
        return Pushed(results[-1], torch.cat([one.after for one in results]).softmax(1))
    result = fooling.fgsm(network, seen, target, eps=size)
    if steps:
        return Pushed(result)
    random = torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))
    changed = signed_step(seen, random, size)
    with torch.no_grad():
        return Pushed(replace(result, images=changed, after=network(changed).cpu()))


@declare.panel("Push a picture", compute=pushed, cost="quick")
def push_panel(
    attacked: Pushed,
    network: Network,
    defence: str = declare.choice(_DEFENCES, label="defense"),
    harsh: float = declare.real(0.25, 0, 1, label="how harsh"),
) -> tuple[Image.Image, str]:
    """A picture, what is added to it, their sum, and the network's answers before and after.

    With a defence: the same after both pictures were treated by it; the clean one is the control.
    """
    result = attacked.result
    if defence:
        return defended(result, network, defence, strength_at(defence, harsh))
    if attacked.chances is None:
        return fooled_picture(result, network), fooled_words(result, network)
    parts = [fooled_picture(result, network, bars=3), chances_picture(attacked, network)]
    return figures.side_by_side(parts, columns=1, gap=8), fooled_words(result, network)


def chances_picture(attacked: Pushed, network: Network) -> Image.Image:
    """The probabilities of three classes after each step: the one to leave, the one to reach, and
    the likeliest at the end."""
    result, chances = attacked.result, torch.as_tensor(attacked.chances)
    wanted = [int(result.label), *([] if result.target is None else [int(result.target)])]
    likely = chances[-1].argsort(descending=True).tolist()
    shown = list(dict.fromkeys([*wanted, *likely]))[:3]
    return figures.curve(
        {network.categories[index]: chances[:, index] for index in shown},
        across="steps taken",
        up="probability",
        size=(704, 210),
        limits=(-0.02, 1.02),
        reach=len(chances) - 1,
    )


def fooled_picture(
    result: AttackResult, network: Network, *, bars: int = 4, then: str = ""
) -> Image.Image:
    """The picture, what was added (enlarged, the factor said), their sum; below them the answers.

    The target's bar stands out, or that of the class that was left. `then` says what was done to
    both pictures since.
    """
    times = max(1, round(224 / result.images.shape[-1]))
    added, factor = enlarged(result)
    shown = [figures.enlarge(part, times) for part in (result.originals, added, result.images)]
    titles = ["the picture", f"what was added, × {factor}", "their sum"]
    heads = ["before", "after"]
    if then:
        titles = ["the clean picture", f"their difference, × {factor}", "the fooled picture"]
        heads = [f"clean, {then} (the control)", f"fooled, {then}"]
    wanted = int(result.label if result.target is None else result.target)
    both = [answer_bars(scores, network, wanted, bars) for scores in (result.before, result.after)]
    answers = figures.side_by_side(both, heads, gap=24)
    return figures.side_by_side([figures.side_by_side(shown, titles), answers], columns=1, gap=12)


def enlarged(result: AttackResult) -> tuple[torch.Tensor, str]:
    """The change so many times as large that it fills the range around grey, and the factor.

    One number in two hundred may lie beyond, so that a few strong pixels do not hide the rest.
    """
    size = float(result.perturbation.abs().flatten().quantile(0.995)) or float(result.largest.max())
    factor = 0.5 / size if size > 0 else 1.0
    words = f"{factor:.0f}" if factor >= 10 else f"{factor:.1f}"
    return (0.5 + factor * result.perturbation).clamp(0, 1), words


def answer_bars(scores: torch.Tensor, network: Network, wanted: int, count: int = 4) -> Image.Image:
    """The best answers to one image, and the wanted class if it is not among them."""
    ranking = network.ranking(scores.view(1, -1), k=len(network.categories))[0]
    rows: list[Prediction] = ranking[:count]
    if wanted not in [row.index for row in rows]:
        rows = [*rows[: count - 1], next(row for row in ranking if row.index == wanted)]
    return figures.bars(rows, width=344, highlight=network.categories[wanted])


def fooled_words(result: AttackResult, network: Network) -> str:
    """What it was, what it is now, and how little was changed."""
    [first], [now] = network.ranking(torch.cat([result.before, result.after]), k=1)
    size = (
        f"No pixel value changed by more than {255 * float(result.largest):.1f}/255, "
        f"the root mean square is {255 * float(result.rms):.2f}/255."
    )
    words = f"{_said(first)} became {_said(now)}. {size}"
    if now.index == first.index:
        words = (
            f"Still {now.name}: {figures.per_cent(first.probability)} before, "
            f"{figures.per_cent(now.probability)} after. {size}"
        )
    if result.target is None:
        return words
    chance = float(result.after[0].softmax(0)[int(result.target)])
    return f"{network.categories[int(result.target)]}: {figures.per_cent(chance)}. {words}"


def _said(answer: Prediction) -> str:
    return f"{answer.name} ({figures.per_cent(answer.probability)})"


# The line through the picture


def _line(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = _TOWARDS,
    reach: int = declare.whole(16, 2, 64, step=2, unit="1/255", label="ε up to"),
    clip: bool = declare.choice({"leave [0, 1]": False, "not": True}, label="pixels may"),
) -> SignLine:
    seen = images.standard(image, network.input_size[0])
    return fooling.sign_line(network, seen, target, reach=reach / 255, points=41, clip=clip)


@declare.panel("Along the sign direction", compute=_line, cost="slow")
def line_panel(
    line: SignLine,
    image: torch.Tensor,
    network: Network,
    within: float = declare.real(0.25, 0.1, 1.0, step=0.05, label="R² within share"),
) -> tuple[Image.Image, str]:
    """The scores along the sign direction on both sides of the picture, and how straight they
    are."""
    near = within * float(line.eps[-1])
    parts = [line_picture(line, network.categories, near), _along(line, image, network)]
    picture = figures.side_by_side(parts, columns=1, gap=8)
    straight, whole = line.r_squared(near), line.r_squared()
    wanted = line.label if line.target is None else line.target
    at = int((line.eps - near).abs().argmin())
    words = (
        f"{network.categories[wanted]}: R² of its score {float(straight[wanted]):.2f} within "
        f"±{255 * near:.1f}/255, {float(whole[wanted]):.2f} on the whole line; median of all "
        f"classes {float(straight.median()):.2f} and {float(whole.median()):.2f}. Its log-odds at "
        f"+{255 * float(line.eps[at]):.1f}/255: {float(line.log_odds[at]):.1f}, where the gradient "
        f"at 0 promised {float(line.linearized[at]):.0f}."
    )
    return picture, words.replace("-", "−").replace("log−odds", "log-odds")


def line_picture(line: SignLine, categories: Sequence[str], near: float) -> Image.Image:
    """Scores against eps: the classes that win somewhere on the line, and where R² is taken."""
    wins = line.scores.argmax(1).bincount(minlength=line.scores.shape[1])
    best = line.scores.amax(0)
    order = (wins.double() + best.double() / (1 + best.abs().max())).argsort(descending=True)
    wanted = [line.label, *([] if line.target is None else [line.target])]
    shown = list(dict.fromkeys([*wanted, *order.tolist()]))[:_LINES]

    def plot(axes: figures.Axes) -> None:
        for place, index in enumerate(shown):
            axes.plot(
                (255 * line.eps).numpy(),
                line.scores[:, index].numpy(),
                color=ink.SERIES[place],
                linestyle=ink.DASHES[place % len(ink.DASHES)],
                linewidth=1.8 if place else 2.6,
                label=categories[index][:_SERIES_WORDS],
            )
        axes.axvline(0, color="#333333", linewidth=1)
        axes.axvspan(-255 * near, 255 * near, color="#eeeeee", zorder=0)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    across = "ε in 1/255   (right: away from the picture's class, or to the target)"
    return figures.drawn(plot, size=(704, 330), across=across, up="score before softmax")


def _along(line: SignLine, image: torch.Tensor, network: Network) -> Image.Image:
    """Five pictures from one end of the line to the other, with the answer to each."""
    places = torch.linspace(0, len(line.eps) - 1, 5).round().long()
    steps = line.eps[places]
    seen = images.standard(image, network.input_size[0])
    shown = (seen + steps[:, None, None, None] * line.direction).clamp(0, 1)
    names = [row[0].name for row in network.ranking(line.scores[places], k=1)]
    titles = [
        f"{255 * float(step):+.0f}/255: {name}".replace("-", "−").replace("+0", "0")
        for step, name in zip(steps, names, strict=True)
    ]
    return figures.mosaic(images.resize(shown, 132), columns=5, gap=8, titles=titles)


# Files, defences


def save_fooled(network: Network, result: AttackResult, path: str | Path) -> str:
    """Write the changed picture to a PNG file, read it again, and say whether it still fools."""
    kept = fooling.quantize(network, result)
    settings = {"label": network.categories[int(result.label)], "eps": result.eps}
    file = images.save(kept.images, path, settings)
    with torch.no_grad():
        kept = replace(kept, after=network(images.load(file)).cpu())
    [[now]] = network.ranking(kept.after, k=1)
    largest = 255 * float(kept.largest)
    still = "still fools" if bool(kept.success) else "does NOT fool"
    more = "" if bool(kept.success) else " any more"
    return (
        f"{file.name}: It {still} the network{more}: {_said(now)}; "
        f"largest change {largest:.1f}/255 in the file, {255 * float(result.largest):.2f}/255 "
        "before."
    )


def strength_at(defence: str, harsh: float) -> float:
    """A defence's strength, from its mildest (0) to its harshest (1), in equal factors."""
    low, high = DEFENCES[defence].limits
    mild, wild = (high, low) if defence == "jpeg" else (low, high)
    return float(mild * (wild / mild) ** harsh)


def defended(
    result: AttackResult, network: Network, defence: str, strength: float
) -> tuple[Image.Image, str]:
    """Both pictures after a defence, what the network says then, and whether that is better."""
    name = DEFENCES[defence].words.format(strength)
    trial = fooling.try_defence(network, result, defence, strength)
    clean, fooled = (
        fooling.defend(part, defence, strength) for part in (result.originals, result.images)
    )
    after = replace(
        result, originals=clean, images=fooled, before=trial.clean, after=trial.attacked
    )
    [clean_now], [now] = network.ranking(torch.cat([after.before, after.after]), k=1)
    label = int(result.label)
    back = "brings it back" if now.index == label else "does not bring it back"
    words = (
        f"After {name} the fooled picture is {_said(now)}: the defense {back} to "
        f"{network.categories[label]}."
    )
    if int(result.after.argmax()) == label:
        words = f"After {name} it is {_said(now)}; the attack had not fooled the network."
    if clean_now.index != label:
        words += f" But {name} alone turns the clean picture into {clean_now.name}."
    return fooled_picture(after, network, then=name), words


# A defence against an attack, over many pictures


def defences_compared(
    network: Network, names: Sequence[str], *, eps: Sequence[float] = (1, 4)
) -> dict[str, dict[str, float]]:
    """Every defence at its usual strength, and the shares of right answers after it: to clean
    pictures, and to pictures fooled by each of `eps` (PGD, 1/255)."""
    seen = torch.cat([images.standard(images.sample(name)) for name in names])
    attacks = {
        f"fooled, ε = {one:g}/255": fooling.pgd(
            network, seen, eps=one / 255, step=one / 765, steps=_FEW
        )
        for one in eps
    }
    rows = {}
    for defence in (None, *DEFENCES):
        known = DEFENCES.get(defence or "")
        trials = {at: fooling.try_defence(network, one, defence) for at, one in attacks.items()}
        clean = next(iter(trials.values())).clean_right
        rows[known.words.format(known.usual) if known else "nothing"] = {
            "clean (the control)": clean,
            **{at: trial.attacked_right for at, trial in trials.items()},
        }
    return rows


def shares_picture(rows: Mapping[str, Mapping[str, float]], corner: str) -> Image.Image:
    """A table of shares, `rows[row][column]` from 0 to 1, each with a bar; `corner` heads the
    rows."""
    cells = [
        [(name, None), *((figures.per_cent(share), share) for share in shares.values())]
        for name, shares in rows.items()
    ]
    return figures.table((corner, *next(iter(rows.values()))), cells)
