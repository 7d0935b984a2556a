// Chromium with web pages that use the official Browser SDK. Each line of the standard input is a
// visit as JSON, each line of the standard output what became of it:
// {"sent": [[insert_id, event_type], ...], "codes": {n: status}, "errors": [text, ...]}.
"use strict";

const { createInterface } = require("node:readline");
const { chromium } = require("playwright-core");

const [program, page] = process.argv.slice(2);

async function main() {
  const browser = await chromium.launch({
    executablePath: program,
    // Nothing but this machine exists: what an SDK asks of other servers fails at once.
    args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"],
  });
  console.log(JSON.stringify({ version: browser.version() }));
  for await (const line of createInterface({ input: process.stdin })) {
    let told;
    try {
      told = await visit(browser, JSON.parse(line));
    } catch (error) {
      told = { failure: String(error) };
    }
    console.log(JSON.stringify(told));
  }
  await browser.close();
}

async function visit(browser, story) {
  const context = await browser.newContext();
  const tab = await context.newPage();
  const errors = [];
  // That servers of Amplitude's can't be found is as it should be.
  tab.on("console", (message) => {
    const here = message.location().url.startsWith("http://127.0.0.1");
    if (here && message.type() === "error") errors.push(message.text());
  });
  tab.on("pageerror", (error) => errors.push(String(error)));
  const sent = [];
  await tab.exposeFunction("noteSent", (id, type) => sent.push([id, type]));
  await tab.goto(`${page}?utm_source=letter`);
  const codes = await tab.evaluate((told) => play(told), story);
  if (story.end === "leave") await tab.goto("about:blank");
  if (story.end === "close") {
    const closed = tab.waitForEvent("close");
    await tab.close({ runBeforeUnload: true });
    await closed;
  }
  // A beacon outlives its page, but not the context.
  if (story.end !== "leave" && story.end !== "close") await context.close();
  return { sent, codes, errors };
}

main();
