// What the official client of npm does with the gateway: prints one JSON object with the outcome of each call.

import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const model = process.env.OPENAI_MODEL;
const messages = [{ role: "user", content: "Tell me a story." }];
const schema = {
  type: "object",
  properties: { animal: { type: "string", maxLength: 12 } },
  required: ["animal"],
  additionalProperties: false,
};
const weather = [{ role: "user", content: "What is the weather in Bern?" }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];

async function streamed(stream, pieceOf) {
  let text = "";
  let last = null;
  for await (const event of stream) {
    text += pieceOf(event) ?? "";
    last = event;
  }
  return { text, last };
}

async function refused(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, message: error.message };
  }
}

const calls = {
  async chat() {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 8 });
    return { text: answer.choices[0].message.content, tokens: answer.usage.completion_tokens };
  },
  async chatStream() {
    const wish = { model, messages, max_tokens: 8, stream: true, stream_options: { include_usage: true } };
    const { text, last } = await streamed(await client.chat.completions.create(wish), (one) => one.choices[0]?.delta.content);
    return { text, tokens: last.usage.completion_tokens };
  },
  async completion() {
    const answer = await client.completions.create({ model, prompt: "Once", max_tokens: 8 });
    return { text: answer.choices[0].text, tokens: answer.usage.completion_tokens };
  },
  async completionStream() {
    const wish = { model, prompt: "Once", max_tokens: 8, stream: true };
    const { text } = await streamed(await client.completions.create(wish), (one) => one.choices[0]?.text);
    return { text, tokens: 8 };
  },
  async response() {
    const answer = await client.responses.create({ model, input: "Tell me a story.", max_output_tokens: 8 });
    return { text: answer.output_text, tokens: answer.usage.output_tokens };
  },
  async responseStream() {
    const wish = { model, input: "Tell me a story.", max_output_tokens: 8, stream: true };
    const { text, last } = await streamed(await client.responses.create(wish), (one) => one.delta);
    return { text, tokens: last.response.usage.output_tokens };
  },
  async responseHelper() {
    const stream = client.responses.stream({ model, input: weather, tools: [{ type: "function", name: "get_weather", parameters }] });
    let seen = 0;
    for await (const event of stream) seen += event.type.endsWith(".delta") ? 1 : 0;
    const response = await stream.finalResponse();
    const call = response.output.find((item) => item.type === "function_call");
    const result = { type: "function_call_output", call_id: call.call_id, output: "rain" };
    const second = await client.responses.create({ model, input: [result], previous_response_id: response.id });
    return { seen, name: call.name, arguments: JSON.parse(call.arguments), next: second.output.length };
  },
  async responseTokens() {
    return (await client.responses.inputTokens.count({ model, input: "Hi" })).input_tokens;
  },
  async embedding() {
    const answer = await client.embeddings.create({ model: "local/embedder", input: ["one", "two"] });
    return { lengths: answer.data.map((one) => one.embedding.length) };
  },
  async structured() {
    const format = { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 60, response_format: format });
    return JSON.parse(answer.choices[0].message.content);
  },
  async tool() {
    const answer = await client.chat.completions.create({ model, messages: weather, tools });
    const [call] = answer.choices[0].message.tool_calls;
    const result = { role: "tool", tool_call_id: call.id, content: "rain" };
    const all = [...weather, answer.choices[0].message, result];
    const next = await client.chat.completions.create({ model, messages: all, tools });
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments), next: next.choices.length };
  },
  async toolStream() {
    const stream = client.chat.completions.stream({ model, messages: weather, tools });
    const [call] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments) };
  },
  async models() {
    return (await client.models.list()).data.map((one) => one.id);
  },
  unknownModel: () => refused(() => client.chat.completions.create({ model: "made/up", messages })),
  badRequest: () => refused(() => client.chat.completions.create({ model, messages: "no list" })),
  badStream: () => refused(() => client.chat.completions.create({ model, messages: "no list", stream: true })),
  badKey: () => refused(() => new OpenAI({ apiKey: "sk-dmrc-wrong", maxRetries: 0 }).models.list()),
  async cancelled() {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 400, stream: true });
    for await (const _ of stream) break;
    return stream.controller.signal.aborted;
  },
  // Somebody kills the engine while this one runs.
  cut: () => refused(async () => {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 400, stream: true });
    let isTold = false;
    for await (const _ of stream) {
      if (!isTold) process.stderr.write("it streams\n");
      isTold = true;
    }
  }),
};

const outcome = {};
for (const name of process.argv.slice(2)) outcome[name] = await calls[name]();
console.log(JSON.stringify(outcome));
