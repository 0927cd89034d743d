"""Calls a gateway with Feldera's own client, unchanged, and prints what it has parsed."""

import json
import os

from feldera import FelderaClient

client = FelderaClient(os.environ["GATEWAY"], api_key=os.environ["OPERATOR_KEY"])
created = client.create_api_key(os.environ["NAME"], role="write")
print(json.dumps({"edition": client.get_config().edition.value, "created": created}))
