"""Put one question to whatever model OPENAI_BASE_URL leads to. Knows neither dmrc nor its plugins."""

import os

from openai import OpenAI

QUESTION = "My name is Ada, and my address is ada@example.com. Which city is the capital of France?"

client = OpenAI()  # reads OPENAI_BASE_URL and OPENAI_API_KEY
response = client.chat.completions.create(
    model=os.environ["OPENAI_MODEL"],
    messages=[{"role": "user", "content": QUESTION}],
    max_tokens=60,
)
print((response.choices[0].message.content or "").strip())
