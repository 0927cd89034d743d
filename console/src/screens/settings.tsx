//! The effective configuration, entry by entry, with the source of each; the gateway's version and state.

import { call } from "../api";
import { useData } from "../data";
import { count, plural } from "../format";
import { queryOf, setQuery } from "../router";
import { SettingsTabs } from "../settings-tabs";
import { Badge, Empty, Filter, Icon, Page, Panel, Show, Stat } from "../ui/basic";

/** The value at a dotted path, whose names may contain dots themselves. */
function valueAt(settings: unknown, path: string): unknown {
  if (settings === null || typeof settings !== "object") return undefined;
  const of = settings as Record<string, unknown>;
  if (path in of) return of[path];
  for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1)) {
    const head = path.slice(0, dot);
    if (head in of) {
      const found = valueAt(of[head], path.slice(dot + 1));
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

const SOURCES: Record<string, string> = { database: "Set here", default: "Default" };

export default function Settings() {
  const config = useData("config", () => call("get", "/v0/config"), 30);
  const health = useData("health", () => call("get", "/health"), 15);
  const search = queryOf("q").trim().toLowerCase();
  const source = queryOf("source", "all");
  return (
    <Page title="Settings" lead="The configuration that applies, and the source of each entry.">
      <SettingsTabs />
      <div class="stats">
        <Stat
          label="Version"
          value={config.data?.version ?? "–"}
          note={config.data?.edition ?? " "}
        />
        <Stat
          label="Database"
          value={
            health.data
              ? {
                  ready: "Ready",
                  not_migrated: "Not migrated",
                  unreachable: "Unreachable",
                  not_bound: "Not bound",
                }[health.data.database]
              : "–"
          }
          tone={health.data && health.data.database !== "ready" ? "bad" : ""}
        />
        <Stat
          label="Settings version"
          value={config.data ? count(config.data.settings_version) : "–"}
          note="grows with each change"
        />
        <Stat
          label="Problems"
          value={
            config.data && health.data
              ? count(config.data.faults.length + health.data.problems.length)
              : "–"
          }
          tone={
            config.data &&
            health.data &&
            config.data.faults.length + health.data.problems.length > 0
              ? "bad"
              : ""
          }
        />
      </div>
      {[...(config.data?.faults ?? []), ...(health.data?.problems ?? [])].length > 0 && (
        <section class="problems" aria-label="Problems">
          <h2>
            <Icon name="warn" /> Problems
          </h2>
          <ul>
            {[...(config.data?.faults ?? []), ...(health.data?.problems ?? [])].map((text) => (
              <li key={text} class="wrap">
                {text}
              </li>
            ))}
          </ul>
        </section>
      )}
      <div class="tools">
        <Filter
          label="Filter by name or value"
          value={queryOf("q")}
          onValue={(q) => setQuery({ q })}
        />
        <div class="segmented" role="group" aria-label="Source">
          {["all", "database", "GATEWAY_CONFIG", "gateway.toml", "default"].map((one) => (
            <button
              key={one}
              type="button"
              aria-pressed={source === one}
              onClick={() => setQuery({ source: one === "all" ? null : one })}
            >
              {one === "all" ? "All" : (SOURCES[one] ?? one)}
            </button>
          ))}
        </div>
      </div>
      <Show of={config} rows={12}>
        {({ settings, sources }) => {
          const rows = Object.entries(sources)
            .map(([name, from]) => ({
              name,
              from,
              value: JSON.stringify(valueAt(settings, name) ?? null),
            }))
            .filter(
              ({ name, from, value }) =>
                (source === "all" || from === source) &&
                `${name}\n${value}`.toLowerCase().includes(search),
            );
          return rows.length === 0 ? (
            <Empty icon="settings" title="No entry matches" />
          ) : (
            <>
              <Panel flush>
                <div class="scroll" tabIndex={0} role="group" aria-label="Configuration">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">Entry</th>
                        <th scope="col">Value</th>
                        <th scope="col">Source</th>
                      </tr>
                    </thead>
                    <tbody>
                      {rows.map(({ name, from, value }) => (
                        <tr key={name}>
                          <th scope="row" class="wrap sentence">
                            <bdi>
                              {name.split(/(?<=[._])/).map((part) => (
                                <>
                                  {part}
                                  <wbr />
                                </>
                              ))}
                            </bdi>
                          </th>
                          <td class="wrap mono">
                            <bdi>{value}</bdi>
                          </td>
                          <td>
                            <Badge tone={from === "database" ? "accent" : ""}>
                              {SOURCES[from] ?? from}
                            </Badge>
                          </td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              </Panel>
              <p class="pager muted">{plural(rows.length, "entry", "entries")}</p>
            </>
          );
        }}
      </Show>
    </Page>
  );
}
