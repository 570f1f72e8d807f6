// What OpenAI's own client gets: a chat as it came, and the pieces of a stream.

import OpenAI from "openai";

const client = new OpenAI();
const hello = {
  model: process.env.OPENAI_MODEL,
  max_tokens: 24,
  messages: [{ role: "user", content: "Name three rivers." }],
};
console.log(await (await client.chat.completions.create(hello).asResponse()).text());
for await (const chunk of await client.chat.completions.create({ ...hello, stream: true })) {
  console.log(JSON.stringify(chunk));
}
