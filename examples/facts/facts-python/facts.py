"""Give one random fact about TOPIC, with whatever model OPENAI_BASE_URL leads to."""

import os
import sys

from openai import OpenAI

client = OpenAI()  # reads OPENAI_BASE_URL and OPENAI_API_KEY
response = client.chat.completions.create(
    model=os.environ["OPENAI_MODEL"],
    messages=[
        {
            "role": "system",
            "content": "You are a random fact giver. Give one fun fact about the topic, in one short sentence.",
        },
        {"role": "user", "content": os.environ.get("TOPIC", "the animals of the sea")},
    ],
    max_tokens=80,
)
fact = (response.choices[0].message.content or "").strip()
if not fact:
    sys.exit("the model answered nothing")
print(fact)
