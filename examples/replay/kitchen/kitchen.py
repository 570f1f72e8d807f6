"""A kitchen that asks a model for its menu, with whatever server OPENAI_BASE_URL leads to."""

import os

from openai import OpenAI


def dish(ingredient: str) -> str:
    """Return the name of a dish."""
    answer = OpenAI().chat.completions.create(
        model=os.environ["OPENAI_MODEL"],
        messages=[{"role": "user", "content": f"Name one dish with {ingredient}. Answer with its name alone."}],
        max_tokens=24,
        temperature=0,
    )
    return (answer.choices[0].message.content or "").strip()


def menu(*ingredients: str) -> str:
    """Return a menu; a dish that cannot be had is left out, and nobody is told why."""
    dishes = []
    for ingredient in ingredients:
        try:
            dishes.append(dish(ingredient))
        except Exception:  # noqa: BLE001 as applications do
            continue
    return ", ".join(dishes)


if __name__ == "__main__":
    print(menu("rice", "beans"))
