// A waiter who recommends, with whatever model OPENAI_BASE_URL leads to.

import OpenAI from "openai";

// Return what the model recommends, as it comes: an async iterator of texts.
export async function* recommend(taste) {
  const stream = await new OpenAI().chat.completions.create({
    model: process.env.OPENAI_MODEL,
    messages: [{ role: "user", content: `Recommend one dish to somebody who likes it ${taste}, in one sentence.` }],
    max_tokens: 40,
    temperature: 0,
    stream: true,
  });
  for await (const piece of stream) {
    yield piece.choices[0]?.delta?.content ?? "";
  }
}
