//! Issued keys: the list, creation, and one key with its limits, usage, receipts and permissions.

import { useEffect, useState } from "preact/hooks";
import { arrayPage, call, type Schemas } from "../api";
import { reload, useData, usePages, useSettled } from "../data";
import { count, csv, endOfDay, linesOf, plural, save } from "../format";
import { PolicyChoice } from "../policy-choice";
import { go, place, queryOf, setQuery, to } from "../router";
import { Range, rangeOf } from "../spending";
import {
  AreaField,
  Badge,
  Chosen,
  ConfirmName,
  Empty,
  Facts,
  Filter,
  FormDialog,
  Icon,
  More,
  Page,
  Panel,
  SelectField,
  Show,
  TextField,
  Time,
  toast,
} from "../ui/basic";
import { NewCredential, OverlapField, type Credential } from "../ui/credential";
import { LimitFields, limitsOf, limitsText, textsOf } from "../ui/limits";
import { Receipts, UsageByDay, UsageLimits, UsageParts, UsageStats, useUsage } from "../usage";

type ApiKey = Schemas["ApiKey"];

const STATES: Record<string, [string, string]> = {
  active: ["Active", "good"],
  disabled: ["Disabled", "warn"],
  expired: ["Expired", ""],
};
const PAGE = 50;

const State = ({ of }: { of: ApiKey }) => {
  const [text, tone] = STATES[of.state] ?? [of.state, ""];
  return of.secrets.length === 0 && of.state === "active" ? (
    <Badge tone="warn">Unclaimed</Badge>
  ) : (
    <Badge tone={tone}>{text}</Badge>
  );
};

function Owner({ of }: { of: ApiKey }) {
  const from = of.email || Object.values(of.metadata).join(", ");
  return from ? <bdi>{from}</bdi> : <span class="muted">by {of.created_by}</span>;
}

// --- Creation ----------------------------------------------------------------------------------------------------------

function Create(props: { onClose: () => void; onCreated: (made: Credential) => void }) {
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<string[]>([]);
  const [models, setModels] = useState("");
  const [limits, setLimits] = useState({});
  const [expires, setExpires] = useState("");
  const [delivery, setDelivery] = useState<"claim" | "key">("claim");
  return (
    <FormDialog
      title="Create a key"
      action="Create"
      wide
      disabled={name.trim() === ""}
      onClose={props.onClose}
      submit={async () => {
        const allowed = linesOf(models);
        const made = await call("post", "/v0/api_keys", {
          body: {
            name: name.trim(),
            ...(chosen.length > 0 ? { policies: chosen } : {}),
            ...(allowed.length > 0 ? { models: allowed } : {}),
            limits: limitsOf(limits),
            ...(expires === "" ? {} : { expires_at: endOfDay(expires) }),
            delivery,
          },
        });
        void reload("keys");
        props.onCreated(
          "api_key" in made
            ? { api_key: made.api_key }
            : { claim_url: made.claim_url, ends: made.claim_expires_at },
        );
      }}
    >
      <div class="two">
        <TextField
          label="Name"
          hint="Letters, digits, _ and -"
          required
          autofocus
          maxLength={64}
          value={name}
          onValue={setName}
        />
        <SelectField
          label="Delivery"
          value={delivery}
          onValue={(value) => setDelivery(value as "key")}
          options={[
            ["claim", "Claim link, which I pass on"],
            ["key", "The key itself"],
          ]}
        />
      </div>
      <div class="two">
        <PolicyChoice chosen={chosen} onChosen={setChosen} />
        <div>
          <AreaField
            label="Models"
            mono
            rows={3}
            placeholder={"groq/*\nopenai/gpt-5-mini"}
            hint="One on each line; empty: all."
            value={models}
            onValue={setModels}
          />
          <TextField
            label="Expires"
            type="date"
            value={expires}
            onValue={setExpires}
            hint="Empty: never."
          />
        </div>
      </div>
      <LimitFields value={limits} onValue={setLimits} />
    </FormDialog>
  );
}

// --- The list ----------------------------------------------------------------------------------------------------------

function List() {
  const search = queryOf("q");
  const policy = queryOf("policy");
  const state = queryOf("state", "all");
  const q = useSettled(search.trim());
  const filters = {
    ...(q === "" ? {} : { q }),
    ...(policy === "" ? {} : { policy }),
    ...(state === "all" ? {} : { state: state as ApiKey["state"] }),
  };
  const isFiltered = Object.keys(filters).length > 0;
  const keys = usePages(
    `keys:${JSON.stringify(filters)}`,
    async (after: string | null) => {
      const query = { ...filters, limit: PAGE, ...(after === null ? {} : { after }) };
      const { data, total, hasMore } = await arrayPage("/v0/api_keys", { query });
      return { data, total, next: hasMore ? (data.at(-1)?.name ?? null) : null };
    },
    ({ id }) => id,
  );
  const [made, setMade] = useState<Credential | null>(null);
  const exported = async () => {
    const all = await call("get", "/v0/api_keys", { query: filters });
    const columns = ["name", "id", "state", "email", "policies", "models", "limits"];
    const rows = all.map((one) => [
      one.name,
      one.id,
      one.state,
      one.email,
      one.policies.join(" "),
      (one.models ?? ["*"]).join(" "),
      limitsText(one.limits),
      one.created_at,
      one.created_by,
      one.expires_at,
    ]);
    const text = csv([[...columns, "created_at", "created_by", "expires_at"], ...rows]);
    save("keys.csv", text, "text/csv");
  };
  const create = () => setQuery({ create: "1" });
  return (
    <Page
      title="Keys"
      lead="Issued keys. The keys of the Worker secrets are managed with the key ring."
      actions={
        <>
          <button
            type="button"
            disabled={keys.total === 0}
            onClick={() =>
              void exported().catch((error: Error) => toast(error.message, { bad: true }))
            }
          >
            <Icon name="down" /> CSV
          </button>
          <button type="button" class="primary" onClick={create}>
            <Icon name="plus" /> Create a key
          </button>
        </>
      }
    >
      <div class="tools">
        <Filter
          label="Filter by name, e-mail, metadata"
          value={search}
          onValue={(text) => setQuery({ q: text })}
        />
        <div class="segmented" role="group" aria-label="State">
          {["all", "active", "disabled", "expired"].map((one) => (
            <button
              key={one}
              type="button"
              aria-pressed={state === one}
              onClick={() => setQuery({ state: one === "all" ? null : one })}
            >
              {one[0]?.toUpperCase() + one.slice(1)}
            </button>
          ))}
        </div>
        <Chosen name="policy" label="Policy" />
      </div>
      <Show of={keys} rows={10}>
        {(list) =>
          list.length === 0 && !isFiltered ? (
            <Empty icon="keys" title="No key has been issued">
              <p>Approve a request, or create a key for a person or a program.</p>
              <button type="button" class="primary" onClick={create}>
                Create a key
              </button>
            </Empty>
          ) : list.length === 0 ? (
            <Empty icon="search" title="No key matches">
              <button
                type="button"
                onClick={() => setQuery({ q: null, state: null, policy: null })}
              >
                Remove the filters
              </button>
            </Empty>
          ) : (
            <Panel flush>
              <div class="scroll" tabIndex={0} role="group" aria-label="Keys">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Name</th>
                      <th scope="col">State</th>
                      <th scope="col">Owner</th>
                      <th scope="col">Policies</th>
                      <th scope="col">Own limits</th>
                      <th scope="col">Created</th>
                      <th scope="col">Expires</th>
                    </tr>
                  </thead>
                  <tbody>
                    {list.map((one) => (
                      <tr key={one.id}>
                        <th scope="row" class="clip">
                          <a href={to(["keys", one.name])}>{one.name}</a>
                        </th>
                        <td>
                          <State of={one} />
                        </td>
                        <td class="clip">
                          <Owner of={one} />
                        </td>
                        <td class="clip">
                          {one.policies.length > 0 ? (
                            <bdi>{one.policies.join(", ")}</bdi>
                          ) : (
                            <span class="muted">none</span>
                          )}
                        </td>
                        <td class="clip">
                          {limitsText(one.limits) || <span class="muted">none</span>}
                        </td>
                        <td>
                          <Time at={one.created_at} />
                        </td>
                        <td>
                          <Time at={one.expires_at} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </Panel>
          )
        }
      </Show>
      {keys.data && keys.data.length > 0 && (
        <More
          of={keys}
          label="More keys"
          text={`${count(keys.data.length)} of ${plural(keys.total ?? 0, "key")}`}
        />
      )}
      {queryOf("create") !== "" && (
        <Create onClose={() => setQuery({ create: null })} onCreated={setMade} />
      )}
      {made && <NewCredential title="The key is ready" {...made} onClose={() => setMade(null)} />}
    </Page>
  );
}

// --- One key -----------------------------------------------------------------------------------------------------------

type Open = "limits" | "edit" | "rotate" | "revoke" | null;

function EditLimits({ of, onClose }: { of: ApiKey; onClose: () => void }) {
  const [limits, setLimits] = useState(textsOf(of.limits));
  return (
    <FormDialog
      title={`Limits of ${of.name}`}
      action="Save"
      onClose={onClose}
      submit={async () => {
        const before = of.limits;
        const change = (value: object) =>
          call("patch", "/v0/api_keys/{name}", {
            path: { name: of.name },
            body: { limits: value },
          }).then(() => reload("keys", "key:", "usage:"));
        await change(limitsOf(limits));
        toast(`The limits of ${of.name} apply within 10 seconds.`, {
          undo: () => void change(before).then(() => toast("The limits are as before.")),
        });
      }}
    >
      <p class="hint">
        Limits of the key itself. Its policies may have others: of each kind, the strictest applies.
      </p>
      <LimitFields value={limits} focus="usd_per_month" onValue={setLimits} />
    </FormDialog>
  );
}

function EditPermissions({ of, onClose }: { of: ApiKey; onClose: () => void }) {
  const [chosen, setChosen] = useState(of.policies);
  const [models, setModels] = useState((of.models ?? []).join("\n"));
  const [endpoints, setEndpoints] = useState((of.endpoints ?? []).join("\n"));
  const [metadata, setMetadata] = useState(
    Object.entries(of.metadata)
      .map(([name, value]) => `${name}=${value}`)
      .join("\n"),
  );
  const [expires, setExpires] = useState(of.expires_at?.slice(0, 10) ?? "");
  return (
    <FormDialog
      title={`Permissions of ${of.name}`}
      action="Save"
      wide
      onClose={onClose}
      submit={async () => {
        const orNull = (list: string[]) => (list.length > 0 ? list : null);
        const pairs = linesOf(metadata).map((line) => {
          const [name = "", ...value] = line.split("=");
          return [name.trim(), value.join("=").trim()] as const;
        });
        await call("patch", "/v0/api_keys/{name}", {
          path: { name: of.name },
          body: {
            policies: orNull(chosen),
            models: orNull(linesOf(models)),
            endpoints: orNull(linesOf(endpoints)),
            metadata: Object.fromEntries(pairs),
            ...(expires === (of.expires_at?.slice(0, 10) ?? "")
              ? {}
              : {
                  expires_at: expires === "" ? null : endOfDay(expires),
                }),
          } as Schemas["ApiKeyChange"],
        });
        toast(`The permissions of ${of.name} apply within 10 seconds.`);
        await reload("keys", "key:", "usage:");
      }}
    >
      <div class="two">
        <PolicyChoice chosen={chosen} onChosen={setChosen} />
        <div>
          <AreaField
            label="Models"
            mono
            hint="One on each line; empty: all."
            value={models}
            onValue={setModels}
          />
          <AreaField
            label="Endpoints"
            mono
            hint="One path on each line; empty: all."
            value={endpoints}
            onValue={setEndpoints}
          />
        </div>
      </div>
      <div class="two">
        <AreaField
          label="Metadata"
          mono
          placeholder="team=search"
          hint="name=value, one on each line."
          value={metadata}
          onValue={setMetadata}
        />
        <TextField
          label="Expires"
          type="date"
          value={expires}
          onValue={setExpires}
          hint="Empty: never."
        />
      </div>
    </FormDialog>
  );
}

function Rotate(props: { of: ApiKey; onClose: () => void; onMade: (made: Credential) => void }) {
  const [overlap, setOverlap] = useState("86400");
  const [delivery, setDelivery] = useState<"key" | "claim">("claim");
  return (
    <FormDialog
      title={`Rotate ${props.of.name}`}
      action="Create a new secret"
      danger={overlap === "0"}
      onClose={props.onClose}
      submit={async () => {
        const made = await call("post", "/v0/api_keys/{name}/rotate", {
          path: { name: props.of.name },
          body: { overlap_seconds: Number(overlap), delivery },
        });
        void reload("keys", "key:");
        props.onMade(
          "api_key" in made
            ? { api_key: made.api_key, ends: made.previous_expires_at }
            : { claim_url: made.claim_url, ends: made.claim_expires_at },
        );
      }}
    >
      <p>The key gets another secret. Its name, permissions, limits and usage stay.</p>
      <OverlapField
        value={overlap}
        onValue={setOverlap}
        hint={delivery === "claim" ? "The time begins when the link is opened." : ""}
      />
      <SelectField
        label="Delivery"
        value={delivery}
        onValue={(value) => setDelivery(value as "key")}
        options={[
          ["claim", "Claim link, which I pass on"],
          ["key", "The key itself"],
        ]}
      />
    </FormDialog>
  );
}

function Detail({ name }: { name: string }) {
  const one = useData(
    `key:${name}`,
    () => call("get", "/v0/api_keys/{name}", { path: { name } }),
    15,
  );
  const days = rangeOf();
  const usage = useUsage(name, days);
  const [open, setOpen] = useState<Open>(null);
  const [made, setMade] = useState<Credential | null>(null);
  const [request, setRequest] = useState<Schemas["KeyRequest"] | null>(null);
  const list = one.data as ApiKey[] | ApiKey | null;
  const apiKey = Array.isArray(list) ? (list[0] ?? null) : list;
  useEffect(() => {
    setRequest(null);
    if (apiKey?.request_id)
      call("get", "/api/portal/requests/{id}", { path: { id: apiKey.request_id } }).then(
        setRequest,
        // Deleted: its texts are not shown.
        () => {},
      );
  }, [apiKey?.request_id]);
  const close = () => setOpen(null);
  const setDisabled = (disabled: boolean) =>
    call("patch", "/v0/api_keys/{name}", { path: { name }, body: { disabled } }).then(
      async () => {
        await reload("keys", "key:");
        toast(
          disabled
            ? `${name} is rejected within 10 seconds.`
            : `${name} works again within 10 seconds.`,
          {
            undo: disabled ? () => void setDisabled(false) : null,
          },
        );
      },
      (error: Error) => toast(error.message, { bad: true }),
    );
  return (
    <Page
      title={name}
      back={{ href: to(["keys"]), label: "Keys" }}
      lead={
        apiKey && (
          <>
            <State of={apiKey} />{" "}
            {request && (
              <>
                <bdi>{request.portal_developer.email}</bdi>
                {request.fields["company"] && (
                  <>
                    {" · "}
                    <bdi>{request.fields["company"]}</bdi>
                  </>
                )}
              </>
            )}
          </>
        )
      }
      actions={
        apiKey && (
          <>
            <Range />
            <button type="button" onClick={() => setOpen("rotate")}>
              Rotate
            </button>
            <button type="button" onClick={() => void setDisabled(apiKey.state !== "disabled")}>
              {apiKey.state === "disabled" ? "Enable" : "Disable"}
            </button>
            <button type="button" class="danger" onClick={() => setOpen("revoke")}>
              Revoke
            </button>
          </>
        )
      }
    >
      <Show of={one}>
        {() =>
          apiKey && (
            <>
              <Panel
                title="Limits"
                actions={
                  <button type="button" onClick={() => setOpen("limits")}>
                    Edit limits
                  </button>
                }
              >
                <Show of={usage} rows={2}>
                  {(data) => <UsageLimits usage={data} none="This key has no limits." />}
                </Show>
              </Panel>
              <Show of={usage} rows={4}>
                {(data) => (
                  <>
                    <UsageStats usage={data} days={days} />
                    <UsageByDay usage={data} days={days} />
                    <UsageParts usage={data} />
                    <Receipts name={name} usage={data} />
                  </>
                )}
              </Show>
              <Panel
                title="Permissions and secrets"
                actions={
                  <button type="button" onClick={() => setOpen("edit")}>
                    Edit permissions
                  </button>
                }
              >
                <Facts
                  of={[
                    [
                      "Policies",
                      apiKey.policies.length > 0 ? <bdi>{apiKey.policies.join(", ")}</bdi> : "none",
                    ],
                    [
                      "Models",
                      apiKey.models ? (
                        <bdi>{(apiKey.models as string[]).join(", ")}</bdi>
                      ) : (
                        "all, as far as policies allow"
                      ),
                    ],
                    [
                      "Endpoints",
                      apiKey.endpoints
                        ? (apiKey.endpoints as string[]).join(", ")
                        : "all, as far as policies allow",
                    ],
                    ["Own limits", limitsText(apiKey.limits) || "none"],
                    [
                      "Metadata",
                      Object.keys(apiKey.metadata).length > 0 ? (
                        <bdi>
                          {Object.entries(apiKey.metadata)
                            .map(([label, value]) => `${label}=${value}`)
                            .join(", ")}
                        </bdi>
                      ) : (
                        "none"
                      ),
                    ],
                    ["Expires", <Time at={apiKey.expires_at} />],
                    [
                      "Created",
                      <>
                        <Time at={apiKey.created_at} /> by <bdi>{apiKey.created_by}</bdi>
                      </>,
                    ],
                    ["Id", <code>{apiKey.id}</code>],
                    [
                      "Use case",
                      request ? (
                        <span class="wrap">
                          <bdi>{request.fields["use_case"] ?? "–"}</bdi>
                        </span>
                      ) : (
                        "–"
                      ),
                    ],
                  ]}
                />
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Secret</th>
                      <th scope="col">Created</th>
                      <th scope="col">Works until</th>
                    </tr>
                  </thead>
                  <tbody>
                    {apiKey.secrets.map((secret) => (
                      <tr key={secret.public_id}>
                        <th scope="row">
                          <code>{secret.public_id}…</code>
                        </th>
                        <td>
                          <Time at={secret.created_at} />
                        </td>
                        <td>
                          <Time at={secret.expires_at} none="no end" />
                        </td>
                      </tr>
                    ))}
                    {apiKey.secrets.length === 0 && (
                      <tr>
                        <td colSpan={3} class="muted">
                          The claim link has not been opened yet. Rotate the key to get another
                          link.
                        </td>
                      </tr>
                    )}
                  </tbody>
                </table>
              </Panel>
              {open === "limits" && <EditLimits of={apiKey} onClose={close} />}
              {open === "edit" && <EditPermissions of={apiKey} onClose={close} />}
              {open === "rotate" && <Rotate of={apiKey} onClose={close} onMade={setMade} />}
              {open === "revoke" && (
                <ConfirmName
                  title="Revoke this key"
                  name={name}
                  action="Revoke"
                  onClose={close}
                  submit={async () => {
                    await call("delete", "/v0/api_keys/{name}", { path: { name } });
                    toast(`${name} is revoked: it is rejected everywhere within 10 seconds.`);
                    go(["keys"]);
                    await reload("keys");
                  }}
                >
                  <p>
                    {plural(apiKey.secrets.length, "secret")} and an unopened claim link stop
                    working everywhere within 10 seconds. This cannot be undone.
                    {usage.data && usage.data.total_requests > 0 && (
                      <>
                        {" "}
                        The key made {count(usage.data.total_requests)} calls in the last {days}{" "}
                        days.
                      </>
                    )}
                  </p>
                </ConfirmName>
              )}
              {made && (
                <NewCredential title="The new secret" {...made} onClose={() => setMade(null)} />
              )}
            </>
          )
        }
      </Show>
    </Page>
  );
}

export default function Keys() {
  const name = place.value.parts[1];
  return name === undefined ? <List /> : <Detail key={name} name={name} />;
}
