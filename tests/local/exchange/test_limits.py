from mcloud.local.exchange.limits import AddressBudget, Limits, RateWindow, Verdict


def test_the_window_of_a_limit_slides() -> None:
    window = RateWindow(2, period=10.0)
    assert [window.allows(now) for now in (0.0, 4.0, 9.9)] == [True, True, False]
    assert [window.allows(now) for now in (10.0, 13.9, 14.0)] == [True, False, True]


def test_a_refused_event_does_not_count() -> None:
    window = RateWindow(1, period=10.0)
    assert window.allows(0.0)
    assert not any(window.allows(now) for now in (1.0, 5.0, 9.0))
    assert window.allows(10.0)


def test_weight_is_counted_by_the_minute() -> None:
    budget = AddressBudget(Limits(), 6_000)
    assert budget.spend(25, 60.0) == Verdict(25)
    assert budget.spend(20, 119.9) == Verdict(45)
    assert budget.spend(1, 120.0) == Verdict(1)


def test_too_much_weight_is_refused_until_the_minute_is_over() -> None:
    budget = AddressBudget(Limits(), 50)
    assert budget.spend(50, 70.0).status == 200
    assert budget.spend(1, 75.0) == Verdict(51, 429, retry_after=45.0)
    assert budget.spend(1, 120.0) == Verdict(1)


def test_a_client_that_continues_is_banned_for_longer_each_time() -> None:
    budget = AddressBudget(Limits(refusals=2, ban=90.0, longest_ban=300.0), 1)
    assert [budget.spend(1, 0.0).status for _ in range(4)] == [200, 429, 429, 418]
    assert budget.spend(1, 89.0) == Verdict(1, 418, retry_after=1.0)
    assert budget.spend(1, 90.0).status == 429  # the request of 89.0 has used up this minute
    assert budget.spend(1, 120.0).status == 200
    bans = []
    for minute in (10, 20, 30):
        verdicts = [budget.spend(1, minute * 60.0) for _ in range(4)]
        bans.append(verdicts[-1].retry_after)
    assert bans == [180.0, 300.0, 300.0]
