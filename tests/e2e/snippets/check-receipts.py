import hashlib, json, sys

receipts = json.load(sys.stdin)["data"]
previous, spent = None, 0
for receipt in reversed(receipts):
    hash = receipt.pop("hash")
    text = json.dumps(receipt, separators=(",", ":"), ensure_ascii=False)
    unchanged = hashlib.sha256(text.encode()).hexdigest() == hash
    follows = previous is None or receipt["previous"] == previous
    spent += sum(attempt["cost_micro_usd"] or 0 for attempt in receipt["attempts"])
    adds_up = previous is None or receipt["totals"]["cost_micro_usd"] == spent
    if not (unchanged and follows and adds_up):
        sys.exit(f"Receipt {receipt['seq']}: {unchanged=} {follows=} {adds_up=}")
    previous, spent = hash, receipt["totals"]["cost_micro_usd"]
print(f"{len(receipts)} receipts fit together; the last hash is {previous}")
