import pytest

from onehop.errors import ConfigError
from onehop.train.schedule import SCHEDULES, schedule


@pytest.mark.parametrize(("step", "expected"), [(1, 1.746928e-7), (4000, 6.987712e-4), (100_000, 1.397543e-4)])
def test_noam_gives_the_papers_rates(step: int, expected: float):
    assert schedule("noam", rate=1.0, warmup=4000, dim=512)(step, 0.0) == pytest.approx(expected, rel=1e-6)
    assert schedule("noam", rate=2.5, warmup=4000, dim=512)(step, 0.5) == pytest.approx(2.5 * expected, rel=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_rises_evenly_to_its_peak_and_never_after(name: str):
    rate = schedule(name, rate=1e-3, warmup=10, dim=64)
    rates = [rate(step, step / 100) for step in range(1, 101)]
    peak = 1e-3 * (64 * 10) ** -0.5 if name == "noam" else 1e-3
    rising = 9 if name in ("cosine", "linear") else 10  # these fall from the beginning, hidden by the warm-up
    assert rates[:rising] == pytest.approx([peak * step / 10 for step in range(1, rising + 1)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert max(rates) <= peak * (1 + 1e-12)


def test_schedules_fall_as_their_names_say():
    def rate(name: str, step: int, fraction: float) -> float:
        return schedule(name, rate=1e-3, warmup=10, dim=64)(step, fraction)

    assert rate("constant", 10_000, 1.0) == 1e-3
    assert rate("inverse_sqrt", 40, 0.4) == pytest.approx(5e-4)
    assert [rate("cosine", 1000, f) for f in (0.5, 1.0, 1.7)] == pytest.approx([5e-4, 0, 0])
    assert [rate("linear", 1000, f) for f in (0.25, 1.0, 1.7)] == pytest.approx([7.5e-4, 0, 0])


def test_an_unknown_schedule_is_an_error_with_those_there_are():
    with pytest.raises(ConfigError, match="'triangle'") as caught:
        schedule("triangle", rate=1.0, warmup=10, dim=64)
    assert all(name in caught.value.remedy for name in SCHEDULES)
