from mcloud.producer.breaker import CLOSED, FAILURES, HALF_OPEN, LONGEST_PAUSE, OPEN, Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(clock, lambda low, high: high), clock


def test_opens_after_some_failures_and_tries_again_after_a_pause() -> None:
    breaker, clock = make()
    for _ in range(FAILURES):
        assert breaker.state == CLOSED
        breaker.fail()
    assert breaker.state == OPEN
    clock.now += breaker.wait()
    assert breaker.state == HALF_OPEN
    breaker.succeed()
    assert (breaker.state, breaker.wait()) == (CLOSED, 0)


def test_pauses_grow_up_to_a_limit() -> None:
    breaker, _ = make()
    waits = []
    for _ in range(12):
        breaker.fail()
        waits.append(breaker.wait())
    assert waits == sorted(waits)
    assert waits[0] < waits[3]
    assert waits[-1] == LONGEST_PAUSE


def test_a_requested_wait_is_obeyed() -> None:
    breaker, _ = make()
    breaker.fail(at_least=77)
    assert breaker.wait() == 77
