// Run by Node's own test runner: dmrc exec --replay waiter -- node --test

import assert from "node:assert/strict";
import { test } from "node:test";

import { recommend } from "./waiter.js";

for (const taste of ["spicy", "sweet"]) {
  test(`a recommendation for who likes it ${taste} comes in pieces`, async () => {
    const pieces = [];
    for await (const piece of recommend(taste)) pieces.push(piece);
    assert.ok(pieces.length > 5);
    assert.match(pieces.join(""), /\w+ \w+/);
  });
}
