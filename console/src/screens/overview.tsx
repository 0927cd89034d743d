//! The overview: what needs an operator, spend and calls, the providers, and the largest keys, models and projects.

import { useAlerts } from "../alerts";
import { arrayPage, call } from "../api";
import { useData, type Loaded } from "../data";
import { count, duration, percent, plural, short, usd } from "../format";
import { usePending } from "../pending";
import { providerTone, useProviders } from "../providers";
import { to } from "../router";
import {
  MeasureChoice,
  Range,
  SpendingChart,
  formatOf,
  groupName,
  groupsOf,
  keyLink,
  measureChosen,
  measureOf,
  rangeOf,
  unpricedNote,
  useSpending,
  type Group,
  type GroupUsed,
} from "../spending";
import { Badge, Empty, Icon, Page, Panel, Show, Stat, Time } from "../ui/basic";
import { Ranked } from "../ui/chart";
import { Strip } from "../ui/strip";

const TOP_SHOWN = 5;

/** The largest groups of one kind, of sums that have one more: calls without a project are not shown. */
function Top(props: {
  group: Group;
  title: string;
  of: Loaded<GroupUsed[]> & { retry: () => void };
}) {
  const { group, title } = props;
  const days = rangeOf();
  const measure = measureChosen();
  return (
    <Panel
      title={title}
      actions={
        <a
          href={to(["activity"], {
            by: group === "key" ? null : group,
            days: days === 7 ? null : String(days),
          })}
        >
          All
        </a>
      }
    >
      <Show of={props.of} rows={4}>
        {(data) => {
          const rows = data
            .filter((entry) => group !== "project" || entry.group !== null)
            .slice(0, TOP_SHOWN);
          if (rows.length === 0)
            return (
              <p class="muted none">
                {group === "project"
                  ? "No call has named a project. Callers send it in the header X-Gateway-Project-Id."
                  : "No calls in this range."}
              </p>
            );
          return (
            <Ranked
              rows={rows.map((entry) => {
                const name = groupName(entry, group);
                const href =
                  group === "key"
                    ? keyLink(entry)
                    : group === "model"
                      ? to(["models"], { open: name })
                      : to(["activity"], { project: name });
                return {
                  name,
                  ...(href ? { href } : {}),
                  value: measureOf(entry, measure),
                  text: formatOf(measure)(measureOf(entry, measure)),
                  note: measure === "calls" ? null : plural(entry.requests, "call"),
                };
              })}
            />
          );
        }}
      </Show>
    </Panel>
  );
}

/** The largest groups of one kind, with sums of their own. */
function TopOf({ group, title }: { group: Group; title: string }) {
  const spending = useSpending(rangeOf(), group, { buckets: false, limit: TOP_SHOWN + 1 });
  return (
    <Top group={group} title={title} of={{ ...spending, data: spending.data?.data ?? null }} />
  );
}

function Providers() {
  const providers = useProviders();
  return (
    <Panel title="Providers" flush>
      <Show of={providers} rows={4}>
        {({ list }) => {
          const shown = list.filter(({ active }) => active);
          if (shown.length === 0)
            return (
              <Empty icon="providers" title="No provider is configured">
                <p>
                  Set the key of a provider, such as <code>GROQ_API_KEY</code>.{" "}
                  <a href="/docs/operate/providers">Providers</a>
                </p>
              </Empty>
            );
          return (
            <div class="scroll" tabIndex={0} role="group" aria-label="Providers">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Provider</th>
                    <th scope="col">State</th>
                    <th scope="col">Last 24 hours</th>
                    <th scope="col" class="num">
                      Success
                    </th>
                    <th scope="col" class="num">
                      Median
                    </th>
                    <th scope="col" class="num">
                      p90
                    </th>
                    <th scope="col">Last error</th>
                  </tr>
                </thead>
                <tbody>
                  {shown.map((provider) => (
                    <tr key={provider.name}>
                      <th scope="row">
                        <a href={to(["providers", provider.name])}>
                          <bdi>{provider.name}</bdi>
                        </a>
                      </th>
                      <td>
                        <Badge tone={providerTone(provider.state)}>{provider.state}</Badge>
                      </td>
                      <td>
                        <Strip label={provider.name} history={provider.history} />
                      </td>
                      <td class="num">
                        {provider.success_rate === null ? "–" : percent(provider.success_rate)}
                      </td>
                      <td class="num">{duration(provider.p50_ms)}</td>
                      <td class="num">{duration(provider.p90_ms)}</td>
                      <td class="clip">
                        {provider.last_error ? (
                          <>
                            <Time at={provider.last_error.at} /> ·{" "}
                            {provider.last_error.status || ""}{" "}
                            <bdi>{provider.last_error.message}</bdi>
                          </>
                        ) : (
                          <span class="muted">none</span>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          );
        }}
      </Show>
    </Panel>
  );
}

export default function Overview() {
  const days = rangeOf();
  const measure = measureChosen();
  const spending = useSpending(days, "model", { buckets: true });
  const providers = useProviders();
  const health = useData("health", () => call("get", "/health"), 15);
  const keys = useData("keys:active", () =>
    arrayPage("/v0/api_keys", { query: { limit: 1, state: "active" } }),
  );
  const pending = usePending();
  const alerts = useAlerts().data?.data.length;

  const problems = health.data?.problems ?? [];
  const totals = spending.data?.totals;
  const on = providers.data?.list.filter((provider) => provider.active) ?? [];
  const failing = on.filter(({ state }) => state !== "Available").length;
  const range = days <= 1 ? "in 24 hours" : `in ${days} days`;
  return (
    <Page title="Overview" actions={<Range />}>
      {problems.length > 0 && (
        <section class="problems" aria-label="Problems">
          <h2>
            <Icon name="warn" /> {plural(problems.length, "problem")}
          </h2>
          <ul>
            {problems.map((problem) => (
              <li key={problem} class="wrap">
                {problem}
              </li>
            ))}
          </ul>
        </section>
      )}
      <div class="stats">
        <Stat
          label="Spend"
          value={totals ? usd(totals.cost_usd) : "–"}
          note={totals ? unpricedNote(totals) || range : " "}
          href={to(["activity"])}
        />
        <Stat
          label="Calls"
          value={totals ? short(totals.requests) : "–"}
          note={range}
          href={to(["activity", "calls"])}
        />
        <Stat
          label="Success"
          value={totals && totals.requests > 0 ? percent(totals.successful / totals.requests) : "–"}
          note={totals ? `${count(totals.failed)} failed` : " "}
          tone={
            totals && totals.requests > 0 && totals.successful / totals.requests < 0.9 ? "bad" : ""
          }
          href={to(["activity", "calls"], { failed: "1" })}
        />
        <Stat
          label="First token"
          value={duration(providers.data?.latency.p50_ms ?? null)}
          note={
            providers.data?.latency.p95_ms == null
              ? "no recent calls"
              : `median, p95 ${duration(providers.data.latency.p95_ms)}`
          }
          href={to(["providers"])}
        />
        <Stat
          label="Pending requests"
          value={pending.data?.text ?? "–"}
          note={pending.data?.count === 0 ? "nothing to review" : "to review"}
          href={to(["requests"])}
          tone={pending.data && pending.data.count > 0 ? "accent" : ""}
        />
        <Stat
          label="Alerts"
          value={alerts === undefined ? "–" : count(alerts)}
          note={alerts === 0 ? "no condition holds" : "to look at"}
          href={to(["alerts"])}
          tone={alerts ? "bad" : ""}
        />
        <Stat
          label="Active keys"
          value={keys.data ? count(keys.data.total) : "–"}
          note="neither disabled nor expired"
          href={to(["keys"], { state: "active" })}
        />
        <Stat
          label="Providers"
          value={providers.data ? count(on.length) : "–"}
          note={
            providers.data
              ? failing === 0
                ? "all available"
                : `${count(failing)} with problems`
              : " "
          }
          href={to(["providers"])}
        />
      </div>
      <Panel
        title={days <= 1 ? "By hour and model (UTC)" : "By day and model (UTC)"}
        actions={<MeasureChoice />}
      >
        <Show of={spending} rows={5}>
          {(data) => (
            <SpendingChart
              of={data}
              days={days}
              measure={measure}
              group="model"
              label={`${measure} by model`}
            />
          )}
        </Show>
      </Panel>
      <div class="columns three">
        <TopOf group="key" title="Keys" />
        <Top
          group="model"
          title="Models"
          of={{ ...spending, data: spending.data ? groupsOf(spending.data, measure) : null }}
        />
        <TopOf group="project" title="Projects" />
      </div>
      <Providers />
    </Page>
  );
}
