"""Jobs come back in order, errors arrive, and no thread or setting is left behind."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from labsupport.core import workers


@pytest.fixture(autouse=True)
def as_before():
    """Threads, and how many cores old and new threads use, are as they were."""

    def state():
        return torch.get_num_threads(), in_a_new_thread(torch.get_num_threads)

    threads, cores = set(threading.enumerate()), state()
    yield
    assert set(threading.enumerate()) <= threads
    assert state() == cores


def in_a_new_thread(ask):
    """What a function gives in a thread of its own."""
    result = []
    thread = threading.Thread(target=lambda: result.append(ask()))
    thread.start()
    thread.join()
    return result[0]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_come_in_the_jobs_order_and_wait_for_a_slow_caller(threads):
    def slow_at_first(number: int) -> torch.Tensor:
        time.sleep(0.01 if number % 3 == 0 else 0)
        return torch.full((3,), float(number))

    for count in (0, 1, 2, 20):
        seen = []
        for number, result in workers.in_order(
            lambda: slow_at_first, range(count), threads=threads
        ):
            time.sleep(0.01 if number % 5 == 0 else 0)
            seen.append((number, result.tolist()))
        assert seen == [(number, [number] * 3) for number in range(count)]


@pytest.mark.parametrize("threads", [2, 3])
def test_each_thread_has_its_own_function_and_one_core(threads):
    made: list[str] = []
    cores: set[int] = set()

    def make():
        made.append(threading.current_thread().name)

        def work(number: int) -> str:
            cores.add(torch.get_num_threads())
            time.sleep(0.005)
            return threading.current_thread().name

        return work

    names = {name for _, name in workers.in_order(make, range(12), threads=threads)}
    assert len(made) == len(set(made)) == threads
    assert names <= set(made)
    assert cores == {1}


def test_one_thread_is_the_calling_one_with_all_of_its_cores():
    def work(_: int) -> tuple[str, int]:
        return threading.current_thread().name, torch.get_num_threads()

    here = (threading.current_thread().name, torch.get_num_threads())
    assert [r for _, r in workers.in_order(lambda: work, range(3), threads=1)] == [here] * 3


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_in_a_job_or_before_the_first_reaches_the_caller(threads):
    def work(number: int) -> int:
        if number == 5:
            raise ZeroDivisionError("job 5")
        return number

    def make():
        raise KeyError("no function")

    with pytest.raises(ZeroDivisionError, match="job 5"):
        list(workers.in_order(lambda: work, range(50), threads=threads))
    with pytest.raises(KeyError, match="no function"):
        list(workers.in_order(make, range(5), threads=threads))


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("leave", ["close", "del", "throw"])
def test_leaving_early_stops_the_threads_after_their_current_jobs(threads, leave):
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.005)
        done.append(number)
        return number

    before = set(threading.enumerate())
    jobs = workers.in_order(lambda: work, range(1000), threads=threads)
    assert next(jobs) == (0, 0)
    if leave == "close":
        jobs.close()
    elif leave == "throw":
        with pytest.raises(KeyboardInterrupt):
            jobs.throw(KeyboardInterrupt())
    del jobs
    assert set(threading.enumerate()) == before
    assert len(done) < 100


def squares(count: int) -> list[int]:
    jobs = workers.in_order(lambda: lambda number: number**2, range(count), threads=2)
    return [result for _, result in jobs]


def test_nested_teams_and_teams_side_by_side():
    nested = workers.in_order(lambda: lambda number: sum(squares(number)), range(5), threads=2)
    assert [result for _, result in nested] == [0, 0, 1, 5, 14]
    with ThreadPoolExecutor(3) as panels:  # as live panels at once: each in its own thread
        assert list(panels.map(squares, [4] * 30)) == [[0, 1, 4, 9]] * 30


def test_a_caller_with_its_own_number_of_cores_keeps_it():
    def caller() -> int:
        torch.set_num_threads(1)
        squares(4)
        return torch.get_num_threads()

    cores = torch.get_num_threads()
    assert in_a_new_thread(caller) == 1
    torch.set_num_threads(cores)  # what the caller's own setting did to new threads
