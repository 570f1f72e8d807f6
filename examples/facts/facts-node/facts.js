// Give one random fact about TOPIC, with whatever model OPENAI_BASE_URL leads to.

import OpenAI from "openai";

const client = new OpenAI(); // reads OPENAI_BASE_URL and OPENAI_API_KEY
const response = await client.chat.completions.create({
  model: process.env.OPENAI_MODEL,
  messages: [
    {
      role: "system",
      content: "You are a random fact giver. Give one fun fact about the topic, in one short sentence.",
    },
    { role: "user", content: process.env.TOPIC ?? "countries of the world" },
  ],
  max_tokens: 80,
});
const fact = response.choices[0].message.content?.trim();
if (!fact) {
  throw new Error("the model answered nothing");
}
console.log(fact);
