// An application with the old JavaScript library: it sends what it is told to, and prints what the
// library told it of each event. It runs as a web worker does, without a document.
const [library, host, apiKey, count, careless] = process.argv.slice(2);
globalThis.self = globalThis;
globalThis.WorkerGlobalScope = Object;
globalThis.location = { protocol: "http:", hostname: "shop.example", href: "http://shop.example/" };
const amplitude = require(library);

const told = [];
const expected = Number(count) + (careless ? 0 : 3);
const client = amplitude.getInstance();
const finish = () => {
  process.stdout.write(JSON.stringify(told));
  process.exit(0);
};
// After a 413 the library goes on with half as many.
const tell = (status, body) => {
  told.push([status, body]);
  if (told.filter(([one]) => one !== 413).length === expected) finish();
};
const sent = [tell, tell];
const options = {
  apiEndpoint: host,
  forceHttps: false,
  disableCookies: true,
  storage: "none",
  batchEvents: true,
  // Of two more of the ordinary events, the library does not tell.
  eventUploadThreshold: careless ? expected : expected + 2,
  eventUploadPeriodMillis: 50,
};
// As pages do that know no better; the library lets it all through.
if (careless) options.trackingOptions = { ip_address: false };
const sendCarelessly = () => {
  client.setUserId("undefined");
  client.logRevenue("9.99", "1.5", 7);
  client.logEventWithTimestamp("Viewed", { n: 1 }, 1767362380000.5, ...sent);
  client.logEvent("Viewed", { n: 2 }, ...sent);
};
client.init(apiKey, "shopper-1", options, () => {
  if (careless) return sendCarelessly();
  for (let n = 0; n < count; n += 1) {
    client.logEvent("Viewed – é", { n, odd: ["+&=% ", null] }, ...sent);
  }
  const person = new amplitude.Identify().set("plan", "pro").add("visits", 2);
  client.identify(person, ...sent);
  client.groupIdentify("org", "acme", new amplitude.Identify().set("seats", 3), ...sent);
  client.setGroup("org", "acme");
  const sold = new amplitude.Revenue().setProductId("shoe-42").setPrice(10.5).setQuantity(2);
  client.logRevenueV2(sold.setEventProperties({ n: Number(count) }));
  client.logEvent("Left", { n: Number(count) + 1 }, ...sent);
});
setTimeout(finish, 20_000);
