"""One idea, one function: called, it gives its result; `.frames` gives the frames on the way."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

P = ParamSpec("P")
F = TypeVar("F")
R = TypeVar("R")
F_co = TypeVar("F_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class Framed(Protocol[P, F_co, R_co]):
    """A function with a short way, the call, and a long way, `frames`, with the same arguments."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The result."""

    def frames(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[F_co]:
        """One frame after another; the last one is, or holds, the result."""


class Stepwise:
    """What knows how far it has come: after `step` of `steps`."""

    step: int
    steps: int

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return self.step / self.steps if self.steps else 1.0


class Progressing(Protocol):
    """A frame that knows the share of the work that is done."""

    @property
    def progress(self) -> float: ...


P_co = TypeVar("P_co", bound=Progressing, covariant=True)
S = TypeVar("S", bound=Progressing)


@dataclass(frozen=True)
class Beside(Generic[P_co]):
    """A frame with what is shown beside it; it has come as far as the frame has."""

    frame: P_co

    @property
    def progress(self) -> float:
        """The frame's own, 0 to 1."""
        return self.frame.progress


@dataclass(frozen=True)
class Series(Generic[P_co]):
    """Runs in turn: the names of all of them, and the last frame of each that has begun."""

    names: tuple[str, ...]
    frames: tuple[P_co, ...]

    @property
    def progress(self) -> float:
        """The share of all the runs that is done, 0 to 1."""
        return (len(self.frames) - 1 + self.frames[-1].progress) / len(self.names)


def in_turn(names: Sequence[str], run: Callable[[str], Iterator[S]]) -> Iterator[Series[S]]:
    """The frames of one run after the other, each with the last ones of the runs before it."""
    done: tuple[S, ...] = ()
    for name in names:
        for frame in run(name):
            begun = (*done, frame)
            yield Series(tuple(names), begun)
        done = begun


class Shortcut(Iterator[F]):
    """Frames that know a cheaper way to the last one, or to the result: a call takes that way.

    For a function whose frames cost more than its result: a `framed` function returns them with the
    way to the result, `return Shortcut(frames, result)`.
    """

    def __init__(self, frames: Iterator[F], result: Callable[[], Any]) -> None:
        self._frames, self.result = frames, result

    def __next__(self) -> F:
        return next(self._frames)

    def close(self) -> None:
        """Stop the frames."""
        cast(Any, self._frames).close()


@overload
def framed(generator: Callable[P, Iterator[F]], /) -> Framed[P, F, F]: ...


@overload
def framed(
    *, result: Callable[[Iterator[F]], R]
) -> Callable[[Callable[P, Iterator[F]]], Framed[P, F, R]]: ...


def framed(
    generator: Any = None, /, *, result: Callable[[Iterator[Any]], Any] | None = None
) -> Any:
    """Make a function out of a generator of frames: its call gives the last frame.

    `result` says otherwise what the call makes of the frames. The frames are closed in every case,
    also when one of them raises.

    >>> @framed
    ... def halved(number: float, *, steps: int = 3) -> Iterator[float]:
    ...     for _ in range(steps):
    ...         number /= 2
    ...         yield number
    >>> halved(8)
    1.0
    >>> list(halved.frames(8, steps=2))
    [4.0, 2.0]
    """
    if generator is None:
        return functools.partial(_framed, result=result or last_of)
    return _framed(generator, result=last_of)


def last_of(frames: Iterator[F]) -> F:
    """The last frame. `StopIteration` of an empty iterator is a fault of whoever made it."""
    if isinstance(frames, Shortcut):
        return cast(F, frames.result())
    frame = next(frames)
    for frame in frames:  # noqa: B007 - the last one is wanted
        pass
    return frame


def _framed(
    generator: Callable[P, Iterator[F]], *, result: Callable[[Iterator[F]], R]
) -> Framed[P, F, R]:
    @functools.wraps(generator)
    def short(*args: P.args, **kwargs: P.kwargs) -> R:
        frames = generator(*args, **kwargs)
        try:
            return result(frames)
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()

    whole = cast(Any, short)
    whole.frames = generator
    del whole.__wrapped__  # else help() would show the frames' type as the call's
    signature = inspect.signature(generator)
    whole.__signature__ = signature.replace(return_annotation=inspect.Signature.empty)
    return cast(Framed[P, F, R], whole)
