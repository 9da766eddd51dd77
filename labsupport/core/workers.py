"""Many small independent jobs on the cores of a CPU.

Two threads that compute with one core each are faster, and on a busy machine much steadier, than
two cores that share the work inside every operation.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_order(
    make: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job], *, threads: int
) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, in the jobs' order, as soon as it is there.

    `make` builds the function that one thread uses for all of its jobs. A job that raises raises
    here. Closing the iterator, or leaving its loop, stops the threads after their current jobs.
    One thread is the calling one, with all of its cores.
    """
    threads = min(threads, len(jobs))
    if threads <= 1:
        work = make()
        for job in jobs:
            yield job, work(job)
        return
    team = _Pool(make, jobs, threads)
    try:
        for place, job in enumerate(jobs):
            yield job, team.result(place)
    finally:
        team.dismiss()


_STARTING = threading.Lock()


def _in_new_thread(ask: Callable[[], Result]) -> Result:
    """The answer that a new thread gives."""
    answers: list[Result] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()
    thread.join()
    return answers[0]


class _Pool(Generic[Job, Result]):
    """Threads with one core each, taking jobs from the front."""

    def __init__(
        self, make: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job], threads: int
    ) -> None:
        self._make, self._jobs = make, jobs
        self._next = iter(range(len(jobs)))
        self._lock = threading.Lock()
        self._dismissed = threading.Event()
        self._done: queue.SimpleQueue[tuple[int, Result | BaseException]] = queue.SimpleQueue()
        self._early: dict[int, Result] = {}
        ready = threading.Barrier(threads + 1)
        self._threads = [
            threading.Thread(target=self._work, args=(ready,), daemon=True, name=f"worker {i}")
            for i in range(threads)
        ]
        # The number of cores belongs to a thread, but setting it also sets what new threads start
        # with: teams start one after the other, and each puts that back.
        with _STARTING:
            torch.get_num_threads()  # settles the calling thread's number
            usual = _in_new_thread(torch.get_num_threads)
            for thread in self._threads:
                thread.start()
            ready.wait()
            _in_new_thread(lambda: torch.set_num_threads(usual))

    def _work(self, ready: threading.Barrier) -> None:
        with self._lock:
            torch.set_num_threads(1)
            torch.get_num_threads()  # settles the number for this thread, before it is set again
        ready.wait()
        try:
            work = self._make()
        except BaseException as error:
            self._done.put((self._take() or 0, error))
            return
        while (place := self._take()) is not None:
            try:
                self._done.put((place, work(self._jobs[place])))
            except BaseException as error:
                self._done.put((place, error))

    def _take(self) -> int | None:
        with self._lock:
            return None if self._dismissed.is_set() else next(self._next, None)

    def result(self, place: int) -> Result:
        while place not in self._early:
            done, result = self._done.get()
            if isinstance(result, BaseException):
                raise result
            self._early[done] = result
        return self._early.pop(place)

    def dismiss(self) -> None:
        self._dismissed.set()
        for thread in self._threads:
            thread.join()
