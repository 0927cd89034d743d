//! The command palette: screens, models, policies and providers by name, calls by the id of their receipt, and keys by
//! all that the gateway finds them by.

import { useEffect, useState } from "preact/hooks";
import { arrayPage, call } from "./api";
import { useModels } from "./catalogue";
import { useData, useSettled } from "./data";
import { to } from "./router";
import { Dialog } from "./ui/basic";

interface Item {
  kind: string;
  name: string;
  href: string;
}

const SHOWN = 12;
const CALL_ID = /^rcpt_\w+$/;

/** Finds the letters of a search in the order of a name; smaller is better, -1: not found. */
function rank(name: string, search: string): number {
  const text = name.toLowerCase();
  const at = text.indexOf(search);
  if (at >= 0) return at;
  let from = 0;
  for (const letter of search) {
    const found = text.indexOf(letter, from);
    if (found < 0) return -1;
    from = found + 1;
  }
  return 1000 + from;
}

export function Palette(props: {
  sections: { name: string; title: string }[];
  onClose: () => void;
}) {
  const [search, setSearch] = useState("");
  const [at, setAt] = useState(0);
  const asked = useSettled(search.trim());
  const keys = useData(`keys:palette:${asked}`, async () =>
    asked === ""
      ? []
      : (await arrayPage("/v0/api_keys", { query: { q: asked, limit: SHOWN } })).data,
  ).data;
  const models = useModels(null).data ?? [];
  const policies = useData("policies", () => call("get", "/v0/policies")).data ?? [];
  const providers = useData("providers", () => call("get", "/v0/providers")).data ?? [];
  const wanted = search.trim().toLowerCase();
  const items: Item[] = [
    ...props.sections.map(({ name, title }) => ({ kind: "Screen", name: title, href: to([name]) })),
    { kind: "Action", name: "Create a key", href: to(["keys"], { create: "1" }) },
    { kind: "Action", name: "Create a policy", href: to(["policies"], { create: "1" }) },
    ...policies.map(({ name }) => ({
      kind: "Policy",
      name,
      href: to(["policies"], { open: name }),
    })),
    ...providers
      .filter(({ active }) => active)
      .map(({ name }) => ({ kind: "Provider", name, href: to(["providers", name]) })),
    ...models.map(({ id }) => ({ kind: "Model", name: id, href: to(["models"], { open: id }) })),
  ];
  const keyItems = (keys ?? []).map(({ name }) => ({
    kind: "Key",
    name,
    href: to(["keys", name]),
  }));
  const ranked = [...items, ...keyItems]
    .map((item) => ({ item, rank: rank(item.name, wanted) }))
    // The gateway finds keys by more than their names: by the e-mail address, for one.
    .filter(({ item, rank: value }) => value >= 0 || item.kind === "Key")
    .toSorted((a, b) => (a.rank >>> 0) - (b.rank >>> 0) || a.item.name.length - b.item.name.length)
    .map(({ item }) => item);
  const found = (
    wanted === ""
      ? items
      : CALL_ID.test(wanted)
        ? [
            {
              kind: "Call",
              name: search.trim(),
              href: to(["activity", "calls"], { call: search.trim() }),
            },
          ]
        : ranked
  ).slice(0, SHOWN);
  useEffect(() => setAt(0), [search]);
  return (
    <Dialog title="Jump to" onClose={props.onClose}>
      {(close) => {
        const open = (item: Item | undefined) => {
          if (!item) return;
          close();
          location.hash = item.href;
        };
        return (
          <div class="palette">
            <input
              autofocus
              role="combobox"
              aria-expanded="true"
              aria-controls="palette-list"
              aria-activedescendant={found[at] ? `palette-${at}` : undefined}
              aria-label="Name of a key, model, policy, provider or screen"
              placeholder="Name of a key, model, policy, provider or screen"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key === "ArrowDown") setAt(Math.min(at + 1, found.length - 1));
                else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
                else if (event.key === "Enter") open(found[at]);
                else return;
                event.preventDefault();
              }}
            />
            <ul id="palette-list" role="listbox" aria-label="Results">
              {found.map((item, i) => (
                <li
                  key={item.kind + item.name}
                  id={`palette-${i}`}
                  role="option"
                  aria-selected={i === at}
                  onPointerMove={() => setAt(i)}
                  onClick={() => open(item)}
                >
                  <bdi>{item.name}</bdi> <span class="muted">{item.kind}</span>
                </li>
              ))}
            </ul>
            {found.length === 0 && <p class="muted none">Nothing has this name.</p>}
          </div>
        );
      }}
    </Dialog>
  );
}
