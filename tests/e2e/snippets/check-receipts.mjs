import { createHash } from "node:crypto";
import { text } from "node:stream/consumers";

const { data } = JSON.parse(await text(process.stdin));
let previous, spent;
for (const { hash, ...receipt } of data.reverse()) {
  const digest = createHash("sha256").update(JSON.stringify(receipt)).digest("hex");
  if (digest !== hash) throw new Error(`Receipt ${receipt.seq} has been changed`);
  if (previous && receipt.previous !== previous) throw new Error("A receipt is missing");
  for (const attempt of receipt.attempts) spent += attempt.cost_micro_usd ?? 0;
  if (previous && receipt.totals.cost_micro_usd !== spent) throw new Error("The sum is wrong");
  [previous, spent] = [hash, receipt.totals.cost_micro_usd];
}
console.log(`${data.length} receipts fit together; the last hash is ${previous}`);
