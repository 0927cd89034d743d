//! The command palette: screens, keys, models, policies and providers by name.

import { useEffect, useState } from "preact/hooks";
import { call } from "./api";
import { useModels } from "./catalogue";
import { useData } from "./data";
import { to } from "./router";
import { Dialog } from "./ui/basic";

interface Item {
  kind: string;
  name: string;
  href: string;
}

const SHOWN = 12;

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
  const keys = useData("keys", () => call("get", "/v0/api_keys")).data ?? [];
  const models = useModels(null).data ?? [];
  const policies = useData("policies", () => call("get", "/v0/policies")).data ?? [];
  const providers = useData("providers", () => call("get", "/v0/providers")).data ?? [];
  const wanted = search.trim().toLowerCase();
  const items: Item[] = [
    ...props.sections.map(({ name, title }) => ({ kind: "Screen", name: title, href: to([name]) })),
    { kind: "Action", name: "Create a key", href: to(["keys"], { create: "1" }) },
    { kind: "Action", name: "Create a policy", href: to(["policies"], { create: "1" }) },
    ...keys.map(({ name }) => ({ kind: "Key", name, href: to(["keys", name]) })),
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
  const found =
    wanted === ""
      ? items.slice(0, SHOWN)
      : items
          .map((item) => ({ item, rank: rank(item.name, wanted) }))
          .filter(({ rank: value }) => value >= 0)
          .toSorted((a, b) => a.rank - b.rank || a.item.name.length - b.item.name.length)
          .slice(0, SHOWN)
          .map(({ item }) => item);
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
