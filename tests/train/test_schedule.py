import pytest

from detkit.recipes import Recipe
from detkit.train.schedule import Schedule


def schedule(batches=100, processes=1, **recipe):
    return Schedule(Recipe(**recipe), batches, processes)


def test_warm_up_rises_to_the_epochs_rate_and_biases_come_down():
    course = schedule(epochs=10, warmup_epochs=2, warmup_steps=1)
    assert course.warmup == 200
    assert course.lr(0, 0.01) == 0
    assert course.lr(0, 0.01, start=0.1) == 0.1
    assert course.lr(50, 0.01) == pytest.approx(0.01 / 4)
    assert course.lr(150, 0.01, start=0.1) == pytest.approx(0.1 + (0.01 * course.decay(1) - 0.1) * 0.75)
    assert course.lr(200, 0.01, start=0.1) == pytest.approx(0.01 * course.decay(2))


@pytest.mark.parametrize(("kind", "middle"), [("linear", 0.505), ("cosine", 0.505), ("constant", 1.0)])
def test_decay_goes_from_one_towards_the_final_rate(kind, middle):
    course = schedule(epochs=10, schedule=kind, final_lr=0.01)
    assert course.decay(0) == 1
    assert course.decay(5) == pytest.approx(middle)
    assert course.decay(10) == pytest.approx(1.0 if kind == "constant" else 0.01)


def test_the_rate_steps_once_an_epoch():
    course = schedule(epochs=10, warmup_epochs=0, warmup_steps=0)
    assert course.lr(500, 1.0) == course.lr(599, 1.0) == pytest.approx(1 - 0.99 / 2)
    assert course.lr(600, 1.0) < course.lr(599, 1.0)


def test_warm_up_has_a_least_number_of_batches_and_never_takes_more_than_half_of_the_run():
    assert schedule(batches=10, epochs=100, warmup_epochs=3, warmup_steps=100).warmup == 100
    assert schedule(batches=10, epochs=4, warmup_epochs=3, warmup_steps=100).warmup == 20
    assert schedule(batches=1, epochs=1, warmup_epochs=3).warmup == 0


def test_momentum_warms_up_and_never_down():
    course = schedule(epochs=10, warmup_epochs=1, warmup_steps=1, warmup_momentum=0.8)
    assert course.momentum(0, 0.937) == 0.8
    assert course.momentum(50, 0.937) == pytest.approx((0.8 + 0.937) / 2)
    assert course.momentum(500, 0.937) == 0.937
    assert course.momentum(0, 0.0) == 0.0


def test_gradients_accumulate_to_the_nominal_batch_after_a_ramp():
    course = schedule(epochs=10, batch=16, nominal_batch=64, warmup_epochs=3)
    assert [course.accumulation(epoch) for epoch in range(5)] == [2, 2, 4, 4, 4]
    assert course.weight_decay_factor == 1
    assert schedule(batch=24, nominal_batch=64).weight_decay_factor == 24 * 3 / 64
    assert schedule(batch=128, nominal_batch=64).weight_decay_factor == 2
    assert schedule(batch=16, processes=4, nominal_batch=64).full_accumulation == 1
    assert schedule(batch=16, nominal_batch=None).full_accumulation == 1
    assert schedule(batch=16, nominal_batch=None).weight_decay_factor == 1
