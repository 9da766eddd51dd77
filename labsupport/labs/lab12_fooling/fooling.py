"""Lab 12: push photographs until the network says something else, and try to undo it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.frames import Beside
from labsupport.core.images.perturbations import signed_step
from labsupport.core.network import Network, Prediction
from labsupport.methods import fooling
from labsupport.methods.fooling import DEFENCES, AttackResult, SignLine
from labsupport.ui import declare, figures, ink

ATTACKS = {
    "random signs": "random",
    "one step along the signs of the gradient": "fgsm",
    "ten small steps along the signs": "pgd",
}
_STEPS = 10
_FEW = 5  # steps, each a third of eps, where many pictures are attacked
_LINES = 6
_SERIES_WORDS = 26  # letters of a class's name in a legend


# One picture, pushed


def target_of(start: str = "") -> Any:
    """The control for the class to be taken for."""
    return declare.class_of(start=start, label="towards the class")


def eps_of(start: float) -> Any:
    """The control for the largest change of a pixel value."""
    return declare.real(start, 0, 16, step=0.5, unit="1/255", digits=1, label="change ε")


def push(
    network: Network, image: torch.Tensor, target: int | str | None, *, attack: str, eps: float
) -> AttackResult:
    """A picture (1, 3, H, W) changed in one of the `ATTACKS`, by at most `eps` grey values."""
    if attack == "pgd":
        return fooling.pgd(network, image, target, eps=eps / 255, steps=_STEPS)
    result = fooling.fgsm(network, image, target, eps=eps / 255)
    if attack == "fgsm":
        return result
    random = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    changed = signed_step(image, random, eps / 255)
    with torch.no_grad():
        return replace(result, images=changed, after=network(changed).cpu())


def _pushed(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = target_of(),
    attack: str = declare.choice(ATTACKS, label="direction"),
    eps: float = eps_of(4),
) -> AttackResult:
    seen = images.standard(image, network.input_size[0])
    return push(network, seen, target, attack=attack, eps=eps)


@declare.panel("Push a picture", compute=_pushed, cost="quick")
def push_panel(result: AttackResult, network: Network) -> tuple[Image.Image, str]:
    """A picture, what is added to it, their sum, and the network's answers before and after."""
    return fooled_picture(result, network), fooled_words(result, network)


def fooled_picture(result: AttackResult, network: Network, *, bars: int = 4) -> Image.Image:
    """The picture, what was added (enlarged, the factor said), their sum; below them the answers.

    The target's bar stands out, or that of the class that was left.
    """
    times = max(1, round(224 / result.images.shape[-1]))
    added, factor = enlarged(result)
    shown = [figures.enlarge(part, times) for part in (result.originals, added, result.images)]
    titles = ["the picture", f"what was added, × {factor}", "their sum"]
    wanted = int(result.label if result.target is None else result.target)
    both = [answer_bars(scores, network, wanted, bars) for scores in (result.before, result.after)]
    answers = figures.side_by_side(both, ["before", "after"], gap=24)
    return figures.side_by_side([figures.side_by_side(shown, titles), answers], columns=1, gap=12)


def enlarged(result: AttackResult) -> tuple[torch.Tensor, str]:
    """The change so many times as large that it fills the range around grey, and the factor.

    One number in two hundred may lie beyond, so that a few strong pixels do not hide the rest.
    """
    size = float(result.perturbation.abs().flatten().quantile(0.995)) or float(result.largest.max())
    factor = 0.5 / size if size > 0 else 1.0
    words = f"{factor:.0f}" if factor >= 10 else f"{factor:.1f}"
    return (0.5 + factor * result.perturbation).clamp(0, 1), words


def answer_bars(
    scores: torch.Tensor, network: Network, wanted: int, count: int = 4, width: int = 344
) -> Image.Image:
    """The best answers to one image, and the wanted class if it is not among them."""
    ranking = network.ranking(scores.view(1, -1), k=len(network.categories))[0]
    rows: list[Prediction] = ranking[:count]
    if wanted not in [row.index for row in rows]:
        rows = [*rows[: count - 1], next(row for row in ranking if row.index == wanted)]
    return figures.bars(rows, width=width, highlight=network.categories[wanted])


def fooled_words(result: AttackResult, network: Network) -> str:
    """What it was, what it is now, and how little was changed."""
    [first], [now] = network.ranking(torch.cat([result.before, result.after]), k=1)
    size = (
        f"No pixel value changed by more than {255 * float(result.largest):.1f}/255, "
        f"the root mean square is {255 * float(result.rms):.2f}/255."
    )
    words = (
        f"{first.name} ({figures.per_cent(first.probability)}) became {now.name} "
        f"({figures.per_cent(now.probability)}). {size}"
    )
    if now.index == first.index:
        words = (
            f"Still {now.name}: {figures.per_cent(first.probability)} before, "
            f"{figures.per_cent(now.probability)} after. {size}"
        )
    if result.target is None:
        return words
    chance = float(result.after[0].softmax(0)[int(result.target)])
    return f"{network.categories[int(result.target)]}: {figures.per_cent(chance)}. {words}"


# The line through the picture


_Line = tuple[SignLine, torch.Tensor]  # with the picture that it goes through


def _line(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = target_of(),
    reach: int = declare.whole(16, 2, 64, step=2, unit="1/255", label="ε up to"),
    clip: bool = declare.choice({"leave [0, 1]": False, "not": True}, label="pixels may"),
) -> _Line:
    seen = images.standard(image, network.input_size[0])
    line = fooling.sign_line(network, seen, target, reach=reach / 255, points=41, clip=clip)
    return line, seen


@declare.panel("Along the sign direction", compute=_line, cost="slow")
def line_panel(
    along: _Line,
    network: Network,
    within: float = declare.real(0.25, 0.1, 1.0, step=0.05, label="R² within share"),
) -> tuple[Image.Image, str]:
    """The scores along the sign direction on both sides of the picture, and how straight they
    are."""
    line, image = along
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


def plot_lines(
    axes: figures.Axes,
    lines: Sequence[tuple[str, torch.Tensor, torch.Tensor]],
    *,
    first: float = 2,
    others: float = 2,
) -> None:
    """Lines, each a name and its points' x and y, in the course's colours; `first` and `others` are
    their widths."""
    for place, (name, x, y) in enumerate(lines):
        axes.plot(
            x.numpy(),
            y.numpy(),
            color=ink.SERIES[place],
            linestyle=ink.DASHES[place % len(ink.DASHES)],
            linewidth=others if place else first,
            label=name,
        )


def line_picture(line: SignLine, categories: Sequence[str], near: float) -> Image.Image:
    """Scores against eps: the classes that win somewhere on the line, and where R² is taken."""
    wins = line.scores.argmax(1).bincount(minlength=line.scores.shape[1])
    best = line.scores.amax(0)
    order = (wins.double() + best.double() / (1 + best.abs().max())).argsort(descending=True)
    shown = [line.label, *([] if line.target is None else [line.target])]
    shown += [one for one in order.tolist() if one not in shown][: _LINES - len(shown)]

    def plot(axes: figures.Axes) -> None:
        lines = [
            (categories[index][:_SERIES_WORDS], 255 * line.eps, line.scores[:, index])
            for index in shown
        ]
        plot_lines(axes, lines, first=2.6, others=1.8)
        axes.axvline(0, color="#333333", linewidth=1)
        axes.axvspan(-255 * near, 255 * near, color="#eeeeee", zorder=0)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    across = "ε in 1/255   (right: away from the picture's class, or to the target)"
    return figures.drawn(plot, size=(704, 330), across=across, up="score before softmax")


def _along(line: SignLine, image: torch.Tensor, network: Network) -> Image.Image:
    """Five pictures from one end of the line to the other, with the answer to each."""
    places = np.linspace(0, len(line.eps) - 1, 5).round().astype(int).tolist()
    steps = line.eps[places]
    shown = (image + steps[:, None, None, None] * line.direction).clamp(0, 1)
    names = [row[0].name for row in network.ranking(line.scores[places], k=1)]
    titles = [
        f"{255 * float(step):+.0f}/255: {name}".replace("-", "−").replace("+0", "0")
        for step, name in zip(steps, names, strict=True)
    ]
    return figures.mosaic(images.resize(shown, 132), columns=5, gap=8, titles=titles)


# Many small steps


@dataclass(frozen=True)
class _Walked(Beside[fooling.AttackFrame]):
    """Where the small steps are, and the probabilities on the way, (steps so far, classes)."""

    chances: tuple[torch.Tensor, ...]


def _draw_step(walked: _Walked, network: Network) -> tuple[Image.Image, str]:
    step = walked.frame
    parts = [fooled_picture(step.result, network, bars=3), _chances(walked, network.categories)]
    words = f"Step {step.step} of {step.steps}. {fooled_words(step.result, network)}"
    return figures.side_by_side(parts, columns=1, gap=8), words


@declare.live("Step by step", draw=_draw_step)
def steps_panel(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = target_of("gibbon"),
    eps: float = eps_of(2),
    size: float = declare.real(0.25, 0.05, 2, step=0.05, unit="1/255", label="one step"),
    steps: int = declare.whole(40, 5, 100, step=5),
) -> Iterator[_Walked]:
    """Small sign steps, one after the other, never further than ε from the picture."""
    seen = images.standard(image, network.input_size[0])
    settings: dict[str, Any] = {"eps": eps / 255, "step": size / 255, "steps": steps}
    chances: tuple[torch.Tensor, ...] = ()
    for one in fooling.pgd.frames(network, seen, target, **settings):
        chances = (*chances, one.result.after[0].softmax(0))
        yield _Walked(one, chances)


def _chances(walked: _Walked, names: Sequence[str]) -> Image.Image:
    result, rows = walked.frame.result, torch.stack(walked.chances)
    wanted = [int(result.label), *([] if result.target is None else [int(result.target)])]
    wanted += [one for one in rows[-1].argsort(descending=True).tolist() if one not in wanted]

    def plot(axes: figures.Axes) -> None:
        steps = torch.arange(len(rows))
        plot_lines(axes, [(names[index], steps, rows[:, index]) for index in wanted[:3]])
        axes.set_xlim(0, walked.frame.steps)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(frameon=False, fontsize=9, loc="center right")

    return figures.drawn(plot, size=(704, 210), across="steps taken", up="probability")


# Files, other networks, defences


def save_fooled(network: Network, result: AttackResult, path: str | Path) -> str:
    """Write the changed picture to a PNG file, read it again, and say whether it still fools."""
    kept = fooling.quantize(network, result)
    settings = {"label": network.categories[int(result.label)], "eps": result.eps}
    file = images.save(kept.images, path, settings)
    [[now]] = network.predict(images.load(file), k=1)
    wanted = int(result.label) if result.target is None else int(result.target)
    fools = now.index != wanted if result.target is None else now.index == wanted
    largest = 255 * float(kept.largest)
    verdict = "It still fools the network" if fools else "It does NOT fool the network any more"
    return (
        f"{file.name}: {verdict}: {now.name}, {figures.per_cent(now.probability)}; "
        f"largest change {largest:.1f}/255 in the file, {255 * float(result.largest):.2f}/255 "
        "before."
    )


def second_opinion(network: Network, result: AttackResult) -> str:
    """What the other ImageNet networks on this computer say to the changed picture."""
    there = [
        name
        for name in networks.offline_names()
        if name in declare.photograph_networks() and name != network.name
    ]
    if not there:
        return (
            "There is no second ImageNet network on this computer: with a connection, "
            'networks.load("alexnet") brings one.'
        )
    pair = torch.cat([result.originals, result.images])
    lines = []
    for name in there:
        before, after = (rows[0] for rows in networks.load(name).predict(pair, k=1))
        lines.append(
            f"{name}: {before.name} ({figures.per_cent(before.probability)}) before, "
            f"{after.name} ({figures.per_cent(after.probability)}) after."
        )
    return "\n".join(lines)


_DEFENCE_NAMES = {"8 bits": "save as PNG", "jpeg": "JPEG", "blur": "blur", "noise": "noise"}


def _attacked(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = target_of("gibbon"),
    attack: str = declare.choice(dict(list(ATTACKS.items())[1:]), "pgd"),
    eps: float = eps_of(1),
) -> AttackResult:
    return _pushed(image, network, target, attack, eps)


def strength_at(defence: str, harsh: float) -> float:
    """A defence's strength, from its mildest (0) to its harshest (1), in equal factors."""
    low, high = DEFENCES[defence].limits
    mild, wild = (high, low) if defence == "jpeg" else (low, high)
    return float(mild * (wild / mild) ** harsh)


@declare.panel("Defend the network", compute=_attacked, cost="quick")
def defence_panel(
    result: AttackResult,
    network: Network,
    defence: str = declare.choice({_DEFENCE_NAMES[one]: one for one in DEFENCES}, "jpeg"),
    harsh: float = declare.real(0.25, 0, 1, label="how harsh"),
) -> tuple[Image.Image, str]:
    """Do something to the fooled picture before the network sees it; the clean one is the
    control."""
    strength = strength_at(defence, harsh)
    trial = fooling.try_defence(network, result, defence, strength)
    name = DEFENCES[defence].words.format(strength)
    treated = [
        fooling.defend(part, defence, strength) for part in (result.originals, result.images)
    ]
    wanted = int(result.label if result.target is None else result.target)
    scores = (result.before, trial.clean, result.after, trial.attacked)
    bars = [answer_bars(one, network, wanted, 3, width=330) for one in scores]
    heads = (("clean", "with the defence (the control)"), ("fooled", "with the defence"))
    columns = [
        figures.side_by_side(
            [part, *rows], [f"{titles[0]}, then {name}", *titles], columns=1, gap=4
        )
        for part, rows, titles in zip(treated, (bars[:2], bars[2:]), heads, strict=True)
    ]
    return figures.side_by_side(columns, gap=28), _defence_words(trial, result, network, name)


def _defence_words(
    trial: fooling.DefenceTrial, result: AttackResult, network: Network, name: str
) -> str:
    label = network.categories[int(result.label)]
    clean, fooled = (
        row[0] for row in network.ranking(torch.cat([trial.clean, trial.attacked]), k=1)
    )
    back = "brings it back" if trial.attacked_right else "does not bring it back"
    harm = (
        "" if trial.clean_right else f" But {name} alone turns the clean picture into {clean.name}."
    )
    return (
        f"After {name} the fooled picture is {fooled.name} "
        f"({figures.per_cent(fooled.probability)}): the defence {back} to {label}.{harm}"
    )


# A defence against an attack, over many pictures


def defences_compared(
    network: Network, names: Sequence[str], *, eps: Sequence[float] = (1, 4)
) -> dict[str, tuple[float, ...]]:
    """Every defence at its usual strength: shares of right answers, first to clean pictures, then
    to pictures fooled by each of `eps` (PGD, 1/255)."""
    seen = torch.cat([images.standard(images.sample(name)) for name in names])
    attacks = [fooling.pgd(network, seen, eps=one / 255, step=one / 765, steps=_FEW) for one in eps]
    rows = {}
    for defence in (None, *DEFENCES):
        trials = [fooling.try_defence(network, one, defence) for one in attacks]
        known = DEFENCES.get(defence or "")
        name = known.words.format(known.usual) if known else "nothing"
        rows[name] = (trials[0].clean_right, *(trial.attacked_right for trial in trials))
    return rows


def defences_picture(
    rows: Mapping[str, Sequence[float]], eps: Sequence[float] = (1, 4)
) -> Image.Image:
    """Shares of right answers after each defence: clean pictures, and fooled ones."""
    names = ["clean (the control)", *(f"fooled, ε = {one:g}/255" for one in eps)]
    series = zip(names, zip(*rows.values(), strict=True), strict=True)

    def plot(axes: figures.Axes) -> None:
        places = np.arange(len(rows))
        for place, (name, shares) in enumerate(series):
            left, hatch = places + (place - 1) * 0.27, ("", "//", "..")[place]
            colour = ink.SERIES[place]
            axes.bar(left, shares, 0.25, label=name, hatch=hatch, color=colour, edgecolor="white")
            for x, share in zip(left, shares, strict=True):
                axes.text(x, share + 0.02, f"{share:.0%}", ha="center", fontsize=8)
        axes.set_xticks(places, list(rows))
        axes.set_ylim(0, 1.3)
        axes.grid(visible=False, axis="x")
        axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center")

    return figures.drawn(plot, size=(704, 300), up="share still named as before")
