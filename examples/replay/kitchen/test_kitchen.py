"""Tests of the kitchen. Their cassettes are in `cassettes/test_kitchen/`; `pytest --dmrc-record` writes them."""

import kitchen
import pytest

pytestmark = [pytest.mark.usefixtures("dmrc_replay"), pytest.mark.dmrc(service="kitchen")]


def test_a_dish_has_a_name() -> None:
    assert kitchen.dish("rice")


@pytest.mark.parametrize("ingredient", ["beans", "sweet potatoes"])
def test_each_ingredient_has_a_dish(ingredient: str) -> None:
    assert kitchen.dish(ingredient)


def test_a_menu_has_a_dish_for_each_ingredient() -> None:
    assert kitchen.menu("rice", "beans").count(",") >= 1
