import pytest

from onehop.train.size import ENOUGH, FEW, MILD, PLANS, QUICK, SPEED, plan


@pytest.mark.parametrize("pairs", [1, 9_000, 29_000, 170_000, 10_000_000])
def test_without_a_limit_the_amount_of_data_decides(pairs):
    fit = next(choice for choice in PLANS if pairs <= choice.up_to)
    assert plan(pairs) is fit
    assert plan(pairs, pairs * 12.0, 1e9) is fit


@pytest.mark.parametrize("pairs", [29_000, 170_000, 10_000_000])
def test_fewer_minutes_never_choose_a_larger_model_and_what_is_chosen_can_be_passed_over_often(pairs):
    tokens, costs = pairs * 12.0, []
    for minutes in (1e6, 1000, 300, 100, 30, 10, 3, 1):
        found = plan(pairs, tokens, minutes * 60)
        costs.append(found.cost)
        assert found is QUICK or found.up_to >= pairs or ENOUGH * tokens * found.cost <= minutes * 60 * SPEED
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == QUICK.cost
    assert len(set(costs)) > 1


def test_a_model_made_smaller_for_lack_of_time_is_not_held_back_by_the_dropout_of_little_data():
    tokens = 170_000 * 12.0
    found = plan(170_000, tokens, 1.05 * ENOUGH * tokens * PLANS[1].cost / SPEED)
    assert found.model["dim"] == PLANS[1].model["dim"]
    assert found.model["dropout"] == PLANS[2].model["dropout"] < PLANS[1].model["dropout"]


def test_dropout_that_holds_back_many_passes_is_lowered_where_the_minutes_allow_few():
    tokens = 29_000 * 12.0
    one = tokens * PLANS[1].cost / SPEED
    few, many = plan(29_000, tokens, 0.9 * FEW * one), plan(29_000, tokens, 1.1 * FEW * one)
    assert many is PLANS[1]
    assert few.model == {**many.model, "dropout": MILD} != many.model
    assert few.why.startswith(many.why)


def test_the_cost_counts_six_for_every_weight_that_meets_a_token():
    model = {"dim": 8, "ffn_dim": 16, "num_encoder_layers": 1, "num_decoder_layers": 1}
    encoder, decoder, vocabulary = 4 * 64 + 2 * 128, 8 * 64 + 2 * 128, 100 * 8
    assert PLANS[0].__class__(1, model, 100, 1, 1, 1, "").cost == 6 * (encoder + decoder + vocabulary)
