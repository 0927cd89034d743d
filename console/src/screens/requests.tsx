//! Key requests: what was asked for, and the decisions of operators, one at a time or many together.

import { useEffect, useState } from "preact/hooks";
import { ApiError, call, type Schemas } from "../api";
import { reload, useData, useSettled } from "../data";
import { count, endOfDay, plural } from "../format";
import { useShortcuts } from "../keyboard";
import { PolicyChoice } from "../policy-choice";
import { queryOf, setQuery, to } from "../router";
import {
  AreaField,
  Badge,
  Empty,
  Filter,
  FormDialog,
  Page,
  Pager,
  Panel,
  ResultDialog,
  Secret,
  SelectField,
  Show,
  Tabs,
  TextField,
  Time,
  toast,
} from "../ui/basic";
import { LimitFields, limitsOf, limitsText, type LimitTexts } from "../ui/limits";

type KeyRequest = Schemas["KeyRequest"];

const emailOf = ({ portal_developer: { email }, increase, id }: KeyRequest) =>
  email || increase?.key_name || id;
/** The use case of a request for a key; the reason of a request for higher limits. */
const useCaseOf = ({ fields }: KeyRequest) => fields["use_case"] ?? fields["reason"];
const USES: Record<string, string> = {
  personal: "Personal",
  internal: "Internal",
  production: "Production",
};
const REASONS = [
  "Please describe what you want to build, and ask again.",
  "You already have a key. Ask its operator for a larger budget.",
  "This gateway is only for members of the organisation.",
];

interface Issued {
  email: string;
  /** Of the request. */
  id: string;
  /** The name of the key. */
  key: string;
  secret?: string;
  link?: string;
  expires?: string;
  sent?: string;
  raised?: boolean;
  error?: string;
}

/** The decision on one or more requests. */
function Approve(props: {
  requests: KeyRequest[];
  onClose: () => void;
  onIssued: (issued: Issued[]) => void;
}) {
  const config = useData("config", () => call("get", "/v0/config"));
  const first = props.requests[0];
  const [chosen, setChosen] = useState<string[]>(
    props.requests.length === 1 ? (first?.apply_policies ?? []) : [],
  );
  const [limits, setLimits] = useState<LimitTexts>({});
  const [name, setName] = useState("");
  const [expires, setExpires] = useState("");
  const [delivery, setDelivery] = useState<"claim" | "key" | "email">("claim");
  const email = (config.data?.settings as { email?: { from?: string } } | undefined)?.email?.from;
  const many = props.requests.length > 1;
  const isIncrease = !many && first?.increase !== undefined;
  return (
    <FormDialog
      title={many ? `Approve ${props.requests.length} requests` : "Approve request"}
      action={many ? `Approve ${props.requests.length}` : "Approve"}
      wide
      onClose={props.onClose}
      submit={async () => {
        const issued: Issued[] = [];
        const named = many ? "" : name.trim();
        for (const request of props.requests) {
          const about = {
            email: emailOf(request),
            id: request.id,
            key: request.increase?.key_name ?? (named || request.id),
          };
          try {
            const done = await call("put", "/api/portal/requests/approve/{id}", {
              path: { id: request.id },
              body: request.increase
                ? {}
                : {
                    delivery,
                    ...(named === "" ? {} : { name: named }),
                    ...(chosen.length > 0 || !many ? { apply_policies: chosen } : {}),
                    limits: limitsOf(limits),
                    ...(expires === "" ? {} : { expires_at: endOfDay(expires) }),
                  },
            });
            if ("RawKey" in done) issued.push({ ...about, secret: done.RawKey });
            else if ("ClaimURL" in done)
              issued.push({
                ...about,
                link: done.ClaimURL,
                expires: done.ExpiresAt,
                ...(done.EmailError
                  ? { error: `The e-mail was not sent: ${done.EmailError}` }
                  : {}),
              });
            else if ("SentTo" in done) issued.push({ ...about, sent: done.SentTo });
            else issued.push({ ...about, raised: true });
          } catch (error) {
            if (!many) throw error;
            issued.push({ ...about, error: (error as ApiError).message });
          }
        }
        void reload("requests", "keys");
        props.onIssued(issued);
      }}
    >
      {!many && first?.increase && (
        <p class="wrap">
          The key <bdi>{first.increase.key_name}</bdi> asks for {limitsText(first.increase.limits)}{" "}
          instead of {limitsText(first.increase.current) || "no limits"}. Approval raises its
          limits.
        </p>
      )}
      {!many && first && (
        <div class="quote">
          <b class="wrap">
            <bdi>{emailOf(first)}</bdi>
          </b>
          <p class="wrap">
            <bdi>{useCaseOf(first)}</bdi>
          </p>
        </div>
      )}
      {!isIncrease && (
        <>
          <div class="two">
            <PolicyChoice chosen={chosen} onChosen={setChosen} />
            <div>
              <LimitFields
                value={limits}
                names={["usd_per_month", "usd_per_day", "requests_per_day", "requests_per_minute"]}
                focus="usd_per_month"
                onValue={setLimits}
              />
              <p class="hint">
                In addition to the limits of the policies: of each kind, the strictest applies.
              </p>
            </div>
          </div>
          <div class="two">
            <SelectField
              label="Delivery"
              value={delivery}
              onValue={(value) => setDelivery(value as "claim")}
              options={[
                ["claim", "Claim link, which I pass on"],
                ...(email ? ([["email", "Claim link, sent by e-mail"]] as [string, string][]) : []),
                ["key", "The key itself"],
              ]}
              hint={
                delivery === "key"
                  ? "You will see the secret. A claim link shows it to its owner only."
                  : ""
              }
            />
            {!many && (
              <TextField
                label="Name of the key"
                value={name}
                onValue={setName}
                hint="Empty: the id of the request."
              />
            )}
            <TextField
              label="Expires"
              type="date"
              value={expires}
              onValue={setExpires}
              hint="Empty: never."
            />
          </div>
        </>
      )}
    </FormDialog>
  );
}

function Decline(props: { requests: KeyRequest[]; onClose: () => void }) {
  const [reason, setReason] = useState("");
  return (
    <FormDialog
      title={
        props.requests.length > 1 ? `Decline ${props.requests.length} requests` : "Decline request"
      }
      action="Decline"
      danger
      onClose={props.onClose}
      submit={async () => {
        for (const { id } of props.requests)
          await call("put", "/api/portal/requests/decline/{id}", {
            path: { id },
            body: reason.trim() === "" ? {} : { reason: reason.trim() },
          });
        toast(`${plural(props.requests.length, "request")} declined.`);
        await reload("requests");
      }}
    >
      <p class="wrap">
        {props.requests.length === 1 && props.requests[0] ? (
          <>
            The request of <b>{emailOf(props.requests[0])}</b> is declined.
          </>
        ) : (
          `${plural(props.requests.length, "request")} are declined.`
        )}{" "}
        This cannot be undone, and nobody is notified.
      </p>
      <AreaField
        label="Reason"
        hint="It stays in the audit trail: do not write personal data here."
        value={reason}
        onValue={setReason}
      />
      <div class="chips">
        {REASONS.map((text) => (
          <button key={text} type="button" onClick={() => setReason(text)}>
            {text}
          </button>
        ))}
      </div>
    </FormDialog>
  );
}

const mailTo = ({ email, link }: Issued) =>
  `mailto:${encodeURIComponent(email)}?subject=${encodeURIComponent("Your key is ready")}&body=${encodeURIComponent(
    `Your request for a key was approved. Open this link to get it; it works once:\n\n${link}\n`,
  )}`;

const IssuedDialog = (props: { issued: Issued[]; onClose: () => void }) => (
  <ResultDialog
    title={props.issued.every(({ error }) => error) ? "Not approved" : "Approved"}
    wide
    onClose={props.onClose}
  >
    {(close) => (
      <>
        {props.issued.map((one) => (
          <div key={one.id} class="issued">
            <p class="wrap">
              <b>
                <bdi>{one.email}</bdi>
              </b>
            </p>
            {one.error && <p class="form-error wrap">{one.error}</p>}
            {one.raised && <p>The limits of the key are raised.</p>}
            {one.sent && <p>The claim link was sent to {one.sent}.</p>}
            {one.secret && <Secret text={one.secret} label="Key" />}
            {one.link && <Secret text={one.link} label="Claim link" />}
            {one.link && (
              <p class="hint">
                Shown once, works once, and ends <Time at={one.expires} />.{" "}
                <a href={mailTo(one)}>Write an e-mail with it</a>
              </p>
            )}
            {one.secret && (
              <p class="hint">Shown once: the gateway does not store it. Pass it on safely.</p>
            )}
            {!one.error && (
              <p>
                <a href={to(["keys", one.key])} onClick={close}>
                  Open the key
                </a>
              </p>
            )}
          </div>
        ))}
      </>
    )}
  </ResultDialog>
);

export default function Requests() {
  const tab = queryOf("state", "pending");
  const page = Math.max(1, Number(queryOf("page", "1")) || 1);
  const filter =
    tab === "approved"
      ? { approved: true }
      : tab === "declined"
        ? { declined: true }
        : { approved: false };
  const q = useSettled(queryOf("q").trim());
  const data = useData(
    `requests:${tab}:${page}:${q}`,
    () =>
      call("get", "/api/portal/requests", {
        query: { ...filter, p: page, ...(q === "" ? {} : { q }) },
      }),
    tab === "pending" ? 10 : 0,
  );
  const [selected, setSelected] = useState<string[]>([]);
  const [at, setAt] = useState(-1);
  const [approving, setApproving] = useState<KeyRequest[] | null>(null);
  const [declining, setDeclining] = useState<KeyRequest[] | null>(null);
  const [issued, setIssued] = useState<Issued[] | null>(null);
  const list = data.data?.Data ?? [];
  const isPending = tab === "pending";
  useEffect(() => {
    setSelected([]);
    setAt(-1);
  }, [tab, page]);
  const chosen = () => {
    const many = list.filter(({ id }) => selected.includes(id));
    const one = list[Math.max(at, 0)];
    return many.length > 0 ? many : one ? [one] : [];
  };
  const move = (by: number) => {
    const next = Math.min(Math.max(at + by, 0), list.length - 1);
    setAt(next);
    document.querySelectorAll(".request")[next]?.scrollIntoView({ block: "nearest" });
  };
  const decide = (set: (list: KeyRequest[]) => void) => () => {
    if (isPending && chosen().length > 0) set(chosen());
  };
  useShortcuts([
    { keys: "j", does: "Next request", run: () => move(1) },
    { keys: "k", does: "Previous request", run: () => move(-1) },
    { keys: "a", does: "Approve", run: decide(setApproving) },
    { keys: "d", does: "Decline", run: decide(setDeclining) },
    {
      keys: "x",
      does: "Select the request",
      run: () => {
        const id = list[at]?.id;
        if (id && isPending)
          setSelected(
            selected.includes(id) ? selected.filter((other) => other !== id) : [...selected, id],
          );
      },
    },
  ]);
  return (
    <Page
      title="Requests"
      lead="People ask for keys with POST /access/request-key. A decision is recorded in the audit trail."
      actions={
        isPending &&
        list.length > 0 && (
          <>
            {selected.length > 0 && <span class="muted">{count(selected.length)} selected</span>}
            <button type="button" onClick={decide(setDeclining)} disabled={selected.length === 0}>
              Decline
            </button>
            <button type="button" onClick={decide(setApproving)} disabled={selected.length === 0}>
              Approve
            </button>
          </>
        )
      }
    >
      <Tabs
        label="State"
        tabs={["pending", "approved", "declined"].map((state) => ({
          href: to(["requests"], { state: state === "pending" ? null : state }),
          name: state[0]?.toUpperCase() + state.slice(1),
          current: tab === state,
        }))}
      />
      <div class="tools">
        <Filter
          label="Filter by e-mail, company, use case"
          value={queryOf("q")}
          onValue={(text) => setQuery({ q: text, page: null })}
        />
      </div>
      <Show of={data}>
        {() =>
          list.length === 0 ? (
            q !== "" ? (
              <Empty icon="search" title="No request matches" />
            ) : isPending ? (
              <Empty icon="check" title="No request is waiting">
                <p>New requests appear here by themselves. To be notified, set a webhook.</p>
                <a href="/docs/operate/notifications">Notifications</a>
              </Empty>
            ) : (
              <Empty icon="requests" title={`No request has been ${tab}`} />
            )
          ) : (
            <Panel flush>
              <ul class="requests">
                {list.map((request, i) => {
                  const { fields } = request;
                  return (
                    <li
                      key={request.id}
                      class={i === at ? "request at" : "request"}
                      aria-current={i === at ? "true" : undefined}
                    >
                      {isPending && (
                        <input
                          type="checkbox"
                          aria-label={`Select the request of ${emailOf(request).slice(0, 80)}`}
                          checked={selected.includes(request.id)}
                          onChange={(event) =>
                            setSelected(
                              event.currentTarget.checked
                                ? [...selected, request.id]
                                : selected.filter((other) => other !== request.id),
                            )
                          }
                        />
                      )}
                      <div class="what">
                        <p class="who wrap">
                          <b>
                            <bdi>{emailOf(request)}</bdi>
                          </b>
                          {[fields["name"], fields["company"]].filter(Boolean).map((text) => (
                            <span key={text} class="muted">
                              {" "}
                              · <bdi>{text}</bdi>
                            </span>
                          ))}
                        </p>
                        <p class="use wrap">
                          <bdi>{useCaseOf(request) ?? "No use case was given."}</bdi>
                        </p>
                        <p class="tags">
                          <Time at={request.date_created} />
                          {fields["intended_use"] && (
                            <Badge>{USES[fields["intended_use"]] ?? fields["intended_use"]}</Badge>
                          )}
                          {fields["expected_daily_requests"] && (
                            <span>
                              {Number.isFinite(Number(fields["expected_daily_requests"]))
                                ? count(Number(fields["expected_daily_requests"]))
                                : fields["expected_daily_requests"]}{" "}
                              calls a day expected
                            </span>
                          )}
                          {request.increase && (
                            <Badge>
                              higher limits for <bdi>{request.increase.key_name}</bdi>
                            </Badge>
                          )}
                          {request.for_plan && (
                            <span>
                              plan <bdi>{request.for_plan}</bdi>
                            </span>
                          )}
                          {request.decided_by && (
                            <span>
                              by <bdi>{request.decided_by}</bdi> <Time at={request.decided_at} />
                            </span>
                          )}
                          {request.decline_reason && (
                            <span class="wrap">
                              “<bdi>{request.decline_reason}</bdi>”
                            </span>
                          )}
                        </p>
                      </div>
                      <div class="actions">
                        {isPending ? (
                          <>
                            <button type="button" onClick={() => setDeclining([request])}>
                              Decline
                            </button>
                            <button
                              type="button"
                              class="primary"
                              onClick={() => setApproving([request])}
                            >
                              Approve
                            </button>
                          </>
                        ) : (
                          request.key_id && (
                            <a href={to(["keys"], { q: request.key_id })}>Find the key</a>
                          )
                        )}
                      </div>
                    </li>
                  );
                })}
              </ul>
            </Panel>
          )
        }
      </Show>
      <Pager
        page={page}
        pages={data.data?.Pages ?? 1}
        onPage={(next) => setQuery({ page: next === 1 ? null : String(next) })}
      />
      {approving && (
        <Approve requests={approving} onClose={() => setApproving(null)} onIssued={setIssued} />
      )}
      {declining && <Decline requests={declining} onClose={() => setDeclining(null)} />}
      {issued && (
        <IssuedDialog
          issued={issued}
          onClose={() => {
            setIssued(null);
            setSelected([]);
          }}
        />
      )}
    </Page>
  );
}
