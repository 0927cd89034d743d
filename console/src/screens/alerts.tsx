//! Alerts: the conditions that hold, their settings, the channels with a test of each, and the last changes with their
//! deliveries.

import { useState } from "preact/hooks";
import { CONDITIONS, useAlerts, type AlertSettings } from "../alerts";
import { ApiError, call, type Schemas } from "../api";
import { reload, useData } from "../data";
import { plural } from "../format";
import { queryOf, setQuery, to } from "../router";
import { ChangeDialog, Source } from "../settings";
import { SettingsTabs } from "../settings-tabs";
import { Badge, Check, Empty, Page, Panel, Show, TextField, Time } from "../ui/basic";

type Alert = Schemas["Alert"];
type Change = Schemas["AlertChange"];
type Tested = Schemas["AlertTest"]["data"][number];
type Channel = Schemas["AlertList"]["channels"][number];

const CHANNELS: Record<Channel["channel"], string> = {
  webhook: "Webhook",
  slack: "Slack",
  email: "E-mail",
};
const RELOADS = ["alerts", "config"];
const URL = "/v0/alerts/settings";

/** The conditions with their thresholds in words; `null`: off. */
const conditions = (of: AlertSettings): [string, string | null][] => [
  [
    "A key has used a share of a limit",
    of.budget_percent?.length ? of.budget_percent.map((share) => `${share} %`).join(", ") : null,
  ],
  ["A key expires", of.key_expires_days ? `${plural(of.key_expires_days, "day")} before` : null],
  ["Almost every call to a provider fails", of.provider_failing ? "on" : null],
  [
    "Many calls to a provider fail",
    of.error_rate_percent ? `at least ${of.error_rate_percent} %` : null,
  ],
  [
    "A key request waits",
    of.requests_waiting_hours ? `for ${plural(of.requests_waiting_hours, "hour")}` : null,
  ],
];

function Edit({ of, onClose }: { of: AlertSettings; onClose: () => void }) {
  const [shares, setShares] = useState((of.budget_percent ?? []).join(", "));
  const [days, setDays] = useState(String(of.key_expires_days ?? 0));
  const [failing, setFailing] = useState(of.provider_failing ?? false);
  const [rate, setRate] = useState(String(of.error_rate_percent ?? 0));
  const [hours, setHours] = useState(String(of.requests_waiting_hours ?? 0));
  const [email, setEmail] = useState(of.email ?? "");
  const body = (): AlertSettings => ({
    budget_percent: shares.split(/[\s,%]+/).flatMap((share) => (share ? [Number(share)] : [])),
    key_expires_days: Number(days),
    provider_failing: failing,
    error_rate_percent: Number(rate),
    requests_waiting_hours: Number(hours),
    ...(email.trim() === "" ? {} : { email: email.trim() }),
  });
  return (
    <ChangeDialog
      title="Settings of alerts"
      run={(dry) => call("put", URL, { query: dry ? { dry_run: "true" } : {}, body: body() })}
      done="The settings of alerts apply within 10 seconds."
      reloads={RELOADS}
      onClose={onClose}
    >
      <TextField
        label="Used shares of limits, in percent"
        autofocus
        placeholder="80, 100"
        hint="Of daily, monthly and total limits of keys. Empty: no alert."
        value={shares}
        onValue={setShares}
      />
      <div class="two">
        <TextField
          label="Days before a key expires"
          type="number"
          min="0"
          max="365"
          hint="0: no alert."
          value={days}
          onValue={setDays}
        />
        <TextField
          label="Hours that a key request waits"
          type="number"
          min="0"
          max="8760"
          hint="0: no alert."
          value={hours}
          onValue={setHours}
        />
      </div>
      <div class="two">
        <TextField
          label="Failed calls to a provider, in percent"
          type="number"
          min="0"
          max="100"
          hint="From about 20 calls in the last minutes. 0: no alert."
          value={rate}
          onValue={setRate}
        />
        <TextField
          label="E-mail address"
          type="email"
          hint="Needs email.from. Empty: no e-mail."
          value={email}
          onValue={setEmail}
        />
      </div>
      <Check
        label="Almost every call to a provider fails"
        hint="From about three calls in the last minutes."
        checked={failing}
        onChecked={setFailing}
      />
    </ChangeDialog>
  );
}

/** The subject, with a link to its screen. */
function Subject({ of }: { of: Alert | Change }) {
  const [name = ""] = of.subject.split(" ");
  if (of.alert === "requests_waiting") return <a href={to(["requests"])}>Requests</a>;
  const isKey = of.alert === "budget" || of.alert === "key_expiring";
  return (
    <a href={isKey ? to(["keys", name]) : to(["providers", name])}>
      <bdi>{of.subject}</bdi>
    </a>
  );
}

const Holding = ({ alerts }: { alerts: Alert[] }) => (
  <div class="scroll" tabIndex={0} role="group" aria-label="Alerts that hold">
    <table>
      <thead>
        <tr>
          <th scope="col">Condition</th>
          <th scope="col">Of</th>
          <th scope="col">Message</th>
          <th scope="col">Since</th>
          <th scope="col">Ends</th>
        </tr>
      </thead>
      <tbody>
        {alerts.map((one) => (
          <tr key={`${one.alert} ${one.subject}`}>
            <th scope="row">
              <Badge tone="bad">
                {CONDITIONS[one.alert]}
                {one.alert === "budget" && ` ${one.level} %`}
              </Badge>
            </th>
            <td class="clip">
              <Subject of={one} />
            </td>
            <td class="wrap sentence">
              <bdi>{one.message}</bdi>
            </td>
            <td>
              <Time at={one.since} />
            </td>
            <td>
              <Time at={one.ends_at} none="–" />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const Changes = ({ changes }: { changes: Change[] }) => (
  <div class="scroll" tabIndex={0} role="group" aria-label="Last changes">
    <table>
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col">State</th>
          <th scope="col">Message</th>
          <th scope="col">Sent</th>
        </tr>
      </thead>
      <tbody>
        {changes.map((one) => (
          <tr key={`${one.at} ${one.alert} ${one.subject}`}>
            <th scope="row">
              <Time at={one.at} />
            </th>
            <td>
              <Badge tone={one.state === "firing" ? "bad" : "good"}>
                {one.state === "firing" ? "Began" : "Ended"}
              </Badge>
            </td>
            <td class="wrap sentence">
              <bdi>{one.message}</bdi>
            </td>
            <td>
              {one.deliveries.length === 0 && <span class="muted">no channel</span>}
              {one.deliveries.map(({ channel, state, failed_attempts: failed }) => (
                <Badge
                  key={channel}
                  tone={state === "delivered" ? "good" : state === "failed" ? "bad" : "warn"}
                >
                  {CHANNELS[channel]}: {state}
                  {state === "pending" && failed ? `, ${plural(failed, "failure")}` : ""}
                </Badge>
              ))}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

function Channels({ channels, tested }: { channels: Channel[]; tested: Tested[] | null }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Channels">
      <table>
        <thead>
          <tr>
            <th scope="col">Channel</th>
            <th scope="col">State</th>
            <th scope="col">Last test</th>
          </tr>
        </thead>
        <tbody>
          {channels.map(({ channel, configured, needs }) => {
            const result = tested?.find((one) => one.channel === channel);
            return (
              <tr key={channel}>
                <th scope="row">{CHANNELS[channel]}</th>
                <td class="wrap">
                  {configured ? (
                    <Badge tone="good">Configured</Badge>
                  ) : (
                    <span class="muted">Needs {needs}</span>
                  )}
                </td>
                <td class="wrap">
                  {result === undefined ? (
                    <span class="muted">–</span>
                  ) : result.delivered ? (
                    <Badge tone="good">Delivered</Badge>
                  ) : (
                    <>
                      <Badge tone="bad">Not delivered</Badge>
                      <span class="sub wrap">
                        <bdi>{result.error}</bdi>
                      </span>
                    </>
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export default function Alerts() {
  const alerts = useAlerts();
  const setting = useData("alerts:settings", () => call("get", URL), 30);
  const [tested, setTested] = useState<Tested[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const test = async () => {
    setBusy(true);
    setError(null);
    try {
      setTested((await call("post", "/v0/alerts/test")).data);
      await reload("alerts");
    } catch (reason) {
      setTested(null);
      setError(reason as ApiError);
    } finally {
      setBusy(false);
    }
  };
  const value = setting.data?.value as AlertSettings | undefined;
  return (
    <Page
      title="Alerts"
      lead="A message to operators when a condition begins, and one when it ends."
      actions={
        <button
          type="button"
          class="primary"
          disabled={!value}
          onClick={() => setQuery({ edit: "1" })}
        >
          Change the settings
        </button>
      }
    >
      <SettingsTabs />
      <Show of={alerts} rows={3}>
        {({ data }) =>
          data.length === 0 ? (
            <Empty icon="check" title="No alert holds" />
          ) : (
            <Panel flush title={plural(data.length, "alert")}>
              <Holding alerts={data} />
            </Panel>
          )
        }
      </Show>
      <div class="columns">
        <Panel
          flush
          title="Conditions"
          actions={
            setting.data && (
              <>
                <Source of={setting.data} />
                {setting.data.source === "database" && (
                  <button type="button" onClick={() => setQuery({ reset: "1" })}>
                    Reset
                  </button>
                )}
              </>
            )
          }
        >
          <Show of={setting} rows={5}>
            {() => (
              <table>
                <thead>
                  <tr>
                    <th scope="col">Condition</th>
                    <th scope="col">Alert</th>
                  </tr>
                </thead>
                <tbody>
                  {conditions(value ?? {}).map(([condition, threshold]) => (
                    <tr key={condition}>
                      <th scope="row" class="wrap">
                        {condition}
                      </th>
                      <td>{threshold ?? <span class="muted">off</span>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
          </Show>
        </Panel>
        <Panel
          flush
          title="Channels"
          actions={
            <button type="button" disabled={busy} onClick={() => void test()}>
              {busy ? "Testing…" : "Send a test"}
            </button>
          }
        >
          <Show of={alerts} rows={3}>
            {({ channels }) => <Channels channels={channels} tested={tested} />}
          </Show>
          {error && (
            <p class="form-error wrap" role="alert">
              {error.message}
            </p>
          )}
        </Panel>
      </div>
      <Panel flush title="Last changes">
        <Show of={alerts} rows={4}>
          {({ changes }) =>
            changes.length === 0 ? (
              <p class="muted none">No alert has begun or ended in the last 30 days.</p>
            ) : (
              <Changes changes={changes} />
            )
          }
        </Show>
      </Panel>
      {queryOf("edit") !== "" && value && (
        <Edit of={value} onClose={() => setQuery({ edit: null })} />
      )}
      {queryOf("reset") !== "" && (
        <ChangeDialog
          title="Reset the settings of alerts"
          danger
          action="Reset"
          run={(dry) => call("delete", URL, { query: dry ? { dry_run: "true" } : {} })}
          done="The alerts of gateway.toml apply again."
          reloads={RELOADS}
          onClose={() => setQuery({ reset: null })}
        />
      )}
    </Page>
  );
}
