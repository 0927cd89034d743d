//! The keys of a provider: those of Worker secrets, and those that are stored here, encrypted. A key is sent once and never shown again.

import { useState } from "preact/hooks";
import { call, type Schemas } from "./api";
import { now, reload } from "./data";
import { plural, span, usd } from "./format";
import type { Provider } from "./providers";
import {
  Badge,
  Check,
  ConfirmName,
  FormDialog,
  Icon,
  Panel,
  TextField,
  Time,
  toast,
} from "./ui/basic";

type ProviderKey = Schemas["ProviderKey"];

const nameOf = (key: ProviderKey) => key.label ?? key.id;

function Add({ provider, onClose }: { provider: string; onClose: () => void }) {
  const [key, setKey] = useState("");
  const [label, setLabel] = useState("");
  const [weight, setWeight] = useState("1");
  return (
    <FormDialog
      title={`Add a key of ${provider}`}
      action="Add"
      disabled={key.trim() === ""}
      onClose={onClose}
      submit={async () => {
        const made = await call("post", "/v0/providers/{name}/keys", {
          path: { name: provider },
          body: {
            key: key.trim(),
            ...(label.trim() === "" ? {} : { label: label.trim() }),
            weight: Number(weight) || 1,
          },
        });
        toast(`The key ${nameOf(made)} is used within 10 seconds.`);
        await reload("providers", "models");
      }}
    >
      <TextField
        label="Key"
        type="password"
        required
        autofocus
        spellcheck={false}
        value={key}
        onValue={setKey}
        hint="Stored encrypted. It is never shown again; only its last four characters are."
      />
      <div class="two">
        <TextField
          label="Name"
          maxLength={64}
          placeholder="team account"
          value={label}
          onValue={setLabel}
        />
        <TextField
          label="Weight"
          type="number"
          min="1"
          max="1000"
          value={weight}
          onValue={setWeight}
          hint="Its share of the calls, relative to other keys."
        />
      </div>
    </FormDialog>
  );
}

function Edit({
  provider,
  of,
  onClose,
}: {
  provider: string;
  of: ProviderKey;
  onClose: () => void;
}) {
  const [label, setLabel] = useState(of.label ?? "");
  const [weight, setWeight] = useState(String(of.weight));
  const [enabled, setEnabled] = useState(of.enabled);
  return (
    <FormDialog
      title={`Key ${nameOf(of)}`}
      action="Save"
      onClose={onClose}
      submit={async () => {
        await call("patch", "/v0/providers/{name}/keys/{id}", {
          path: { name: provider, id: of.key_id ?? "" },
          body: {
            ...(label.trim() === "" ? {} : { label: label.trim() }),
            weight: Number(weight) || 1,
            enabled,
          },
        });
        toast(`The change of ${nameOf(of)} applies within 10 seconds.`);
        await reload("providers", "models");
      }}
    >
      <TextField label="Name" maxLength={64} autofocus value={label} onValue={setLabel} />
      <TextField
        label="Weight"
        type="number"
        min="1"
        max="1000"
        value={weight}
        onValue={setWeight}
      />
      <Check
        label="Enabled"
        hint="Otherwise no call is sent with it."
        checked={enabled}
        onChecked={setEnabled}
      />
    </FormDialog>
  );
}

function Test({
  provider,
  of,
  onClose,
}: {
  provider: string;
  of: ProviderKey;
  onClose: () => void;
}) {
  return (
    <FormDialog
      title={`Test ${nameOf(of)}`}
      action="Make the call"
      onClose={onClose}
      submit={async () => {
        const result = await call("post", "/v0/providers/{name}/keys/{id}/test", {
          path: { name: provider, id: of.key_id ?? of.id.split(":").at(-1) ?? "0" },
          body: {},
        });
        const cost = result.cost_usd === null ? "" : `, ${usd(Number(result.cost_usd))}`;
        toast(
          result.ok
            ? `${nameOf(of)} works: ${result.model} responded in ${result.latency_ms} ms${cost}.`
            : `${nameOf(of)} failed (${result.status}, ${(result.class ?? "unknown").replaceAll("_", " ")}): ${result.message ?? ""}`,
          { bad: !result.ok },
        );
        await reload("providers");
      }}
    >
      <p>
        One call of a few tokens is made to the cheapest model of {provider} with this key. It costs
        a fraction of a cent.
      </p>
    </FormDialog>
  );
}

function Delete({
  provider,
  of,
  onClose,
}: {
  provider: string;
  of: ProviderKey;
  onClose: () => void;
}) {
  return (
    <ConfirmName
      title="Delete this key"
      name={nameOf(of)}
      action="Delete"
      onClose={onClose}
      submit={async () => {
        await call("delete", "/v0/providers/{name}/keys/{id}", {
          path: { name: provider, id: of.key_id ?? "" },
        });
        toast(`${nameOf(of)} is deleted: no call is sent with it 10 seconds from now.`);
        await reload("providers", "models");
      }}
    >
      <p>
        The gateway forgets the key; it stays valid at {provider} until you revoke it there. This
        cannot be undone. Without another key, calls of this provider fail.
      </p>
    </ConfirmName>
  );
}

type Open = { act: "edit" | "test" | "delete"; key: ProviderKey } | { act: "add" } | null;

export function ProviderKeys(props: {
  of: Provider;
  pause: (id: string) => void;
  resume: (id: string) => void;
}) {
  const { of } = props;
  const [open, setOpen] = useState<Open>(null);
  const close = () => setOpen(null);
  return (
    <Panel
      title="Keys"
      flush
      actions={
        <button type="button" onClick={() => setOpen({ act: "add" })}>
          <Icon name="plus" /> Add a key
        </button>
      }
    >
      {of.keys.length === 0 ? (
        <p class="muted none wrap">
          {of.active ? "This provider needs no key." : (of.reason ?? "This provider has no key.")}
        </p>
      ) : (
        <div class="scroll" tabIndex={0} role="group" aria-label="Keys of the provider">
          <table>
            <thead>
              <tr>
                <th scope="col">Key</th>
                <th scope="col">State</th>
                <th scope="col">Source</th>
                <th scope="col" class="num">
                  Weight
                </th>
                <th scope="col">Changed</th>
                <th scope="col">
                  <span class="sr">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {of.keys.map((key) => (
                <tr key={key.id}>
                  <th scope="row">
                    <bdi>{nameOf(key)}</bdi> <code class="muted">{key.mask}</code>
                    {key.problem && <span class="sub bad wrap">{key.problem}</span>}
                  </th>
                  <td>
                    {!key.enabled ? (
                      <Badge>Disabled</Badge>
                    ) : key.cooldown ? (
                      <>
                        <Badge tone="warn">
                          {key.cooldown.reason === "operator" ? "Paused" : "Cooldown"}
                        </Badge>{" "}
                        <span class="muted">
                          another {span(Date.parse(key.cooldown.until) - now.value)}
                        </span>
                      </>
                    ) : (
                      <Badge tone="good">Available</Badge>
                    )}
                  </td>
                  <td>{key.source === "database" ? "Stored here" : "Worker secret"}</td>
                  <td class="num">{key.weight}</td>
                  <td>
                    {key.changed_at ? (
                      <>
                        <Time at={key.changed_at} /> by <bdi>{key.changed_by ?? "–"}</bdi>
                      </>
                    ) : (
                      <span class="muted">–</span>
                    )}
                  </td>
                  <td class="end">
                    <div class="actions tight">
                      <button
                        type="button"
                        aria-label={`Test ${nameOf(key)}`}
                        onClick={() => setOpen({ act: "test", key })}
                      >
                        Test
                      </button>
                      {key.cooldown ? (
                        <button
                          type="button"
                          aria-label={`Resume ${key.id}`}
                          onClick={() => props.resume(key.id)}
                        >
                          Resume
                        </button>
                      ) : (
                        <button
                          type="button"
                          aria-label={`Pause ${key.id}`}
                          onClick={() => props.pause(key.id)}
                        >
                          Pause
                        </button>
                      )}
                      {key.source === "database" && (
                        <>
                          <button
                            type="button"
                            aria-label={`Edit ${nameOf(key)}`}
                            onClick={() => setOpen({ act: "edit", key })}
                          >
                            Edit
                          </button>
                          <button
                            type="button"
                            class="danger"
                            aria-label={`Delete ${nameOf(key)}`}
                            onClick={() => setOpen({ act: "delete", key })}
                          >
                            Delete
                          </button>
                        </>
                      )}
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <p class="muted none">
            {plural(of.keys.length, "key")}. To rotate one, add the new key, test it, then delete
            the old one.
          </p>
        </div>
      )}
      {open?.act === "add" && <Add provider={of.name} onClose={close} />}
      {open?.act === "edit" && <Edit provider={of.name} of={open.key} onClose={close} />}
      {open?.act === "test" && <Test provider={of.name} of={open.key} onClose={close} />}
      {open?.act === "delete" && <Delete provider={of.name} of={open.key} onClose={close} />}
    </Panel>
  );
}
