import { Upstream, Gateway, variables, chat, operate, eventually, KEY } from "./harness.mjs";
const upstream = await Upstream.start();
const gateway = await Gateway.start(variables(upstream, {
  models: { "demo/sim-small": { input_usd_per_mtok: 1, output_usd_per_mtok: 10, max_output: 1000 } },
  policies: { small: { limits: { requests_per_minute: 100, usd_per_day: 0.02, concurrent: 5, tokens_per_minute: 100000 } } },
}));
try {
  const made = await operate(gateway, "POST", "/v0/api_keys", { name: "k1", policies: ["small"] });
  const key = (await made.json()).api_key;
  const call = async (body, k = key) => {
    const t = performance.now();
    const r = await fetch(`${gateway.url}/v1/chat/completions`, { method: "POST", headers: { authorization: `Bearer ${k}`, "content-type": "application/json" }, body: JSON.stringify({ model: "demo/sim-small", messages: [{ role: "user", content: "Hi there" }], ...body }) });
    const text = await r.text();
    console.log(r.status, Math.round(performance.now() - t), text.slice(0, 300));
    return r;
  };
  for (let i = 0; i < 3; i++) { const r = await call({}); console.log(Object.fromEntries([...r.headers].filter(([n]) => /gateway|rate/.test(n)))); }
  await call({ stream: true });
  await call({}, KEY);
  await new Promise((r) => setTimeout(r, 1500));
  const get = async (path, k = key) => { const r = await fetch(gateway.url + path, { headers: { authorization: `Bearer ${k}` } }); console.log(path, r.status, (await r.text()).slice(0, 3000)); };
  await get("/usage"); await get("/usage/requests?limit=2"); await get("/usage", KEY);
  for (let i = 0; i < 12; i++) await call({ max_tokens: 100, simulate: { events: 100 } });
  await new Promise((r) => setTimeout(r, 13000));
  await get("/usage"); await get("/v1/analytics");
} catch (e) { console.log(e); } finally {
  console.log(gateway.log.filter((l) => !l.includes('"event":"call"')).slice(-30).join("\n"));
  await gateway.stop(); await upstream.stop();
}
