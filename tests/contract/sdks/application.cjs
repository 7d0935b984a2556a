// An application on Node.js with one of the two official SDKs. It reads its story as JSON from the
// standard input, and prints at its end what the SDK told it:
// a line of {"outcomes": [[n, status, message], ...], "kept": [milliseconds, ...]}.
"use strict";

const { readFileSync, writeSync } = require("node:fs");
const { globalAgent } = require("node:http");

const story = JSON.parse(readFileSync(0, "utf8"));
const outcomes = [];
// For how long each connection would have been kept for another request (milliseconds).
const kept = () =>
  Object.values(globalAgent.freeSockets).flatMap((free) => free.map((one) => one.timeout));

// Waits that take half a minute in production: {"30000": 50} lets them pass in 50 ms. No flush
// begins by itself before all events are there, however slow the machine is.
const wait = globalThis.setTimeout;
let queued = Infinity;
globalThis.setTimeout = (callback, delay, ...rest) => {
  const flushes = delay === story.options.flushIntervalMillis;
  const due = () => (flushes && queued < story.steps.length ? wait(due, 5) : callback(...rest));
  return wait(due, story.waits?.[delay] ?? delay);
};

// The process ends by itself once the SDK has nothing left to send or to wait for.
process.on("exit", () => writeSync(1, `\n${JSON.stringify({ outcomes, kept: kept() })}\n`));

async function typescript() {
  const amplitude = require("@amplitude/analytics-node");
  const client = amplitude.createInstance();
  await client.init(story.apiKey, { serverUrl: story.url, ...story.options }).promise;
  queued = 0;
  const count = async (event) => ((queued += 1), event);
  client.add({ name: "count", type: "enrichment", setup: async () => {}, execute: count });
  const told = (n) => (result) => outcomes.push([n, result.code, result.message]);
  const identified = (operations) => {
    const identify = new amplitude.Identify();
    for (const [operation, name, value] of operations) identify[operation](name, value);
    return identify;
  };
  const can = {
    track: (n, type, properties, fields) => client.track(type, properties, fields),
    identify: (n, operations, fields) => client.identify(identified(operations), fields),
    group: (n, type, name, fields) => client.setGroup(type, name, fields),
    groupIdentify: (n, type, name, operations, fields) =>
      client.groupIdentify(type, name, identified(operations), fields),
    revenue: (n, product, price, quantity, fields) =>
      client.revenue(
        new amplitude.Revenue()
          .setProductId(product)
          .setPrice(price)
          .setQuantity(quantity)
          .setEventProperties({ n }),
        fields,
      ),
  };
  const all = story.steps.map(([step, n, ...rest]) => can[step](n, ...rest).promise.then(told(n)));
  if (!story.flush) return;
  client.flush();
  await Promise.all(all);
  // Its next flush would be in ten seconds.
  process.exit();
}

async function legacy() {
  const amplitude = require("@amplitude/node");
  const { Identify } = require("@amplitude/identify");
  const client = amplitude.init(story.apiKey, {
    serverUrl: story.url,
    onRetry: (response) => outcomes.push([null, response.statusCode, response.status]),
    ...story.options,
  });
  const told = (n) => (response) => outcomes.push([n, response.statusCode, response.status]);
  const identified = (operations) => {
    const identify = new Identify();
    for (const [operation, name, value] of operations) identify[operation](name, value);
    return identify;
  };
  const can = {
    track: (n, type, properties, fields) =>
      client.logEvent({ event_type: type, event_properties: properties, ...fields }),
    identify: (n, operations, { user_id, device_id = null }) =>
      client.identify(user_id, device_id, identified(operations)),
    group: (n, type, name, { user_id, device_id = null }) =>
      client.logEvent(new Identify().setGroup(type, name).identifyUser(user_id, device_id)),
    groupIdentify: (n, type, name, operations) =>
      client.logEvent(identified(operations).identifyGroup(type, name)),
    revenue: (n, productId, price, quantity, fields) =>
      client.logEvent({
        event_type: "Bought",
        productId,
        price,
        quantity,
        event_properties: { n },
        ...fields,
      }),
  };
  for (const [step, n, ...rest] of story.steps)
    can[step](n, ...rest).then(told(n), (error) => outcomes.push([n, 0, String(error)]));
}

if (story.sdk === "@amplitude/node") legacy();
else typescript();
