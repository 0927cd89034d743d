//! Verification of the two chains of hashes in the browser: the receipts of a key, and the audit trail. The gateway is not
//! trusted: the hashes are computed here, from the texts that it has sent.

import type { Schemas } from "./api";

export type Receipt = Schemas["Receipt"];
type AuditItem = Schemas["AuditItem"];

const encoder = new TextEncoder();

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", encoder.encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export interface Verdict {
  intact: boolean;
  /** The number of entries that were verified. */
  checked: number;
  reason: string;
}

/**
 * Verifies receipts that follow each other, newest first, as the gateway lists them: that none was changed, that none is missing
 * between them, and that the sums are right.
 */
export async function verifyReceipts(receipts: Receipt[], head?: string): Promise<Verdict> {
  let after: Receipt | null = null;
  let checked = 0;
  for (const receipt of receipts) {
    const broken = (reason: string): Verdict => ({
      intact: false,
      checked,
      reason: `Receipt ${receipt.seq}: ${reason}`,
    });
    const { hash, ...rest } = receipt;
    if ((await sha256(JSON.stringify(rest))) !== hash)
      return broken("its hash is not that of its content.");
    if (after === null && head !== undefined && head !== hash)
      return broken("it is not the head of the chain.");
    if (after !== null) {
      if (after.seq !== receipt.seq + 1) return broken("the receipt after it is missing.");
      if (after.previous !== hash) return broken("the receipt after it does not follow it.");
      const cost = after.attempts.reduce((sum, attempt) => sum + (attempt.cost_micro_usd ?? 0), 0);
      if (
        after.totals.requests !== receipt.totals.requests + 1 ||
        after.totals.cost_micro_usd !== receipt.totals.cost_micro_usd + cost
      )
        return broken("the sums of the receipt after it are wrong.");
    }
    after = receipt;
    checked += 1;
  }
  return { intact: true, checked, reason: "" };
}

/** The chain of audit entries, as far as it has been read. */
export class AuditChain {
  head = "0".repeat(64);
  checked = 0;
  broken: string | null = null;
  /** The head after each entry, to find one that was saved earlier. */
  readonly heads = new Map<string, number>();

  async follow(items: AuditItem[]): Promise<void> {
    for (const { seq, entry, hash } of items) {
      if (this.broken !== null) return;
      if (seq !== this.checked + 1) this.broken = `Entry ${seq}: an entry is missing before it.`;
      else if ((await sha256(`${this.head}\n${entry}`)) !== hash)
        this.broken = `Entry ${seq}: its hash is not that of the entry and the one before it.`;
      else {
        this.head = hash;
        this.checked = seq;
        this.heads.set(hash, seq);
      }
    }
  }
}
