"""Jobs come back in order, errors arrive, and no thread or setting is left behind."""

import threading
import time

import pytest
import torch

from labsupport.core import workers


@pytest.fixture(autouse=True)
def as_before():
    """Threads, and how many cores old and new threads use, are as they were."""
    threads, cores = set(threading.enumerate()), torch.get_num_threads()
    in_new = cores_of_a_new_thread()
    yield
    assert set(threading.enumerate()) <= threads
    assert torch.get_num_threads() == cores
    assert cores_of_a_new_thread() == in_new


def cores_of_a_new_thread() -> int:
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return result[0]


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_results_come_in_the_jobs_order(threads, count):
    def slow_at_first(number: int) -> int:
        time.sleep(0.01 if number % 3 == 0 else 0)
        return square(number)

    results = list(workers.in_order(lambda: slow_at_first, range(count), threads=threads))
    assert results == [(number, number**2) for number in range(count)]


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
def test_an_error_in_a_job_reaches_the_caller(threads):
    def work(number: int) -> int:
        if number == 5:
            raise ZeroDivisionError("job 5")
        return number

    with pytest.raises(ZeroDivisionError, match="job 5"):
        list(workers.in_order(lambda: work, range(50), threads=threads))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_while_a_threads_function_is_built_reaches_the_caller(threads):
    def make():
        raise KeyError("no function")

    with pytest.raises(KeyError, match="no function"):
        list(workers.in_order(make, range(5), threads=threads))


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("how", ["close", "break", "throw"])
def test_leaving_early_stops_the_threads_after_their_current_jobs(threads, how):
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.005)
        done.append(number)
        return number

    before = set(threading.enumerate())
    jobs = workers.in_order(lambda: work, range(1000), threads=threads)
    assert next(jobs) == (0, 0)
    if how == "close":
        jobs.close()
    elif how == "throw":
        with pytest.raises(KeyboardInterrupt):
            jobs.throw(KeyboardInterrupt())
    else:
        del jobs
    assert set(threading.enumerate()) == before
    assert len(done) < 100


def test_results_wait_for_a_slow_caller():
    def work(number: int) -> torch.Tensor:
        return torch.full((3,), float(number))

    for number, result in workers.in_order(lambda: work, range(6), threads=2):
        time.sleep(0.01)
        assert torch.equal(result, torch.full((3,), float(number)))


def test_nested_teams():
    def outer(number: int) -> int:
        return sum(r for _, r in workers.in_order(lambda: square, range(number), threads=2))

    results = [r for _, r in workers.in_order(lambda: outer, range(5), threads=2)]
    assert results == [0, 0, 1, 5, 14]


def test_teams_side_by_side():
    """As two live panels at once: each in its own thread."""
    results: list[list[int]] = []

    def panel() -> None:
        for _ in range(10):
            results.append([r for _, r in workers.in_order(lambda: square, range(4), threads=2)])

    panels = [threading.Thread(target=panel) for _ in range(3)]
    for thread in panels:
        thread.start()
    for thread in panels:
        thread.join()
    assert results == [[0, 1, 4, 9]] * 30


def test_a_caller_with_its_own_number_of_cores_keeps_it():
    result: list[int] = []

    def caller() -> None:
        torch.set_num_threads(1)
        list(workers.in_order(lambda: square, range(4), threads=2))
        result.append(torch.get_num_threads())

    cores = torch.get_num_threads()
    thread = threading.Thread(target=caller)
    thread.start()
    thread.join()
    torch.set_num_threads(cores)  # what the caller's own setting did to new threads
    assert result == [1]
