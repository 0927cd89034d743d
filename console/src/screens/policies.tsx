//! Policies: what keys may call and how much, with the number of keys that a change affects.

import { useState } from "preact/hooks";
import { call } from "../api";
import { useData } from "../data";
import { count, linesOf, plural } from "../format";
import { queryOf, setQuery, to } from "../router";
import { ChangeDialog, LastCells, type Setting } from "../settings";
import { AreaField, Empty, Filter, Icon, Page, Panel, Show, TextField } from "../ui/basic";
import { LimitFields, limitsOf, limitsText, textsOf } from "../ui/limits";

interface Policy {
  description?: string;
  models?: string[];
  endpoints?: string[];
  limits?: object;
  model_limits?: Record<string, object>;
  expires_days?: number;
}

function Edit({ of, onClose }: { of: Setting | null; onClose: () => void }) {
  const value = (of?.value ?? {}) as Policy;
  const [name, setName] = useState(of?.name ?? "");
  const [description, setDescription] = useState(value.description ?? "");
  const [models, setModels] = useState((value.models ?? []).join("\n"));
  const [endpoints, setEndpoints] = useState((value.endpoints ?? []).join("\n"));
  const [limits, setLimits] = useState(textsOf(value.limits));
  const [expires, setExpires] = useState(
    value.expires_days === undefined ? "" : String(value.expires_days),
  );
  const body = () => ({
    ...(description.trim() === "" ? {} : { description: description.trim() }),
    ...(linesOf(models).length > 0 ? { models: linesOf(models) } : {}),
    ...(linesOf(endpoints).length > 0 ? { endpoints: linesOf(endpoints) } : {}),
    limits: limitsOf(limits),
    ...(value.model_limits && Object.keys(value.model_limits).length > 0
      ? { model_limits: value.model_limits }
      : {}),
    ...(expires.trim() === "" ? {} : { expires_days: Number(expires) }),
  });
  return (
    <ChangeDialog
      title={of ? `Policy ${of.name}` : "Create a policy"}
      disabled={name.trim() === ""}
      run={(dry) =>
        call("put", "/v0/policies/{name}", {
          path: { name: name.trim() },
          query: dry ? { dry_run: "true" } : {},
          body: body() as never,
        })
      }
      done={`The policy ${name} applies within 10 seconds.`}
      reloads={["policies", "usage:", "config"]}
      onClose={onClose}
    >
      <div class="two">
        <TextField
          label="Name"
          required
          autofocus={!of}
          readOnly={of !== null}
          maxLength={64}
          value={name}
          onValue={setName}
        />
        <TextField label="Description" value={description} onValue={setDescription} />
      </div>
      <LimitFields
        value={limits}
        {...(of ? { focus: "usd_per_month" as const } : {})}
        onValue={setLimits}
      />
      <div class="two">
        <AreaField
          label="Models"
          mono
          placeholder={"groq/*\nopenai/gpt-5-mini"}
          hint="One on each line; empty: all."
          value={models}
          onValue={setModels}
        />
        <AreaField
          label="Endpoints"
          mono
          placeholder="/v1/chat/completions"
          hint="One path on each line; empty: all."
          value={endpoints}
          onValue={setEndpoints}
        />
      </div>
      <div class="two">
        <TextField
          label="Keys expire after days"
          type="number"
          min="1"
          value={expires}
          onValue={setExpires}
          hint="From their creation. Empty: never."
        />
        {value.model_limits && Object.keys(value.model_limits).length > 0 && (
          <p class="hint">
            The limits for single models stay as they are:{" "}
            {Object.entries(value.model_limits)
              .map(([model, of_model]) => `${model}: ${limitsText(of_model)}`)
              .join("; ")}
            .
          </p>
        )}
      </div>
    </ChangeDialog>
  );
}

export default function Policies() {
  const policies = useData("policies", () => call("get", "/v0/policies"), 30);
  const search = queryOf("q");
  const open = queryOf("open");
  const removing = queryOf("remove");
  const list = (policies.data ?? []).filter(({ name }) =>
    name.toLowerCase().includes(search.trim().toLowerCase()),
  );
  const opened = policies.data?.find(({ name }) => name === open);
  const create = () => setQuery({ create: "1" });
  return (
    <Page
      title="Policies"
      lead="A policy sets the models, endpoints and limits of the keys that have it. Changes here take precedence over gateway.toml."
      actions={
        <button type="button" class="primary" onClick={create}>
          <Icon name="plus" /> Create a policy
        </button>
      }
    >
      <Show of={policies}>
        {(all) =>
          all.length === 0 ? (
            <Empty icon="policies" title="There are no policies">
              <p>
                A policy is a set of limits that many keys share: a budget per month, models, calls
                per minute.
              </p>
              <button type="button" class="primary" onClick={create}>
                Create a policy
              </button>
            </Empty>
          ) : (
            <>
              <div class="tools">
                <Filter label="Filter by name" value={search} onValue={(q) => setQuery({ q })} />
              </div>
              <Panel flush>
                <div class="scroll" tabIndex={0} role="group" aria-label="Policies">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">Name</th>
                        <th scope="col">Limits</th>
                        <th scope="col">Models</th>
                        <th scope="col" class="num">
                          Keys
                        </th>
                        <th scope="col">Source</th>
                        <th scope="col">Changed</th>
                        <th scope="col">
                          <span class="sr">Actions</span>
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {list.map((one) => {
                        const value = (one.value ?? {}) as Policy;
                        return (
                          <tr key={one.name}>
                            <th scope="row" class="clip">
                              <button
                                type="button"
                                class="link"
                                onClick={() => setQuery({ open: one.name })}
                              >
                                <bdi>{one.name}</bdi>
                              </button>
                              {value.description && (
                                <span class="sub">
                                  <bdi>{value.description}</bdi>
                                </span>
                              )}
                            </th>
                            <td class="sentence">
                              {limitsText(value.limits) || <span class="muted">none</span>}
                            </td>
                            <td class="clip">
                              {value.models ? (
                                <bdi>{value.models.join(", ")}</bdi>
                              ) : (
                                <span class="muted">all</span>
                              )}
                            </td>
                            <td class="num">
                              <a href={to(["keys"], { policy: one.name })}>
                                {count(one.keys ?? 0)}
                              </a>
                            </td>
                            <LastCells of={one} />
                          </tr>
                        );
                      })}
                    </tbody>
                  </table>
                </div>
              </Panel>
              <p class="pager muted">{plural(list.length, "policy", "policies")}</p>
            </>
          )
        }
      </Show>
      {queryOf("create") !== "" && <Edit of={null} onClose={() => setQuery({ create: null })} />}
      {opened && <Edit key={opened.name} of={opened} onClose={() => setQuery({ open: null })} />}
      {removing !== "" && (
        <ChangeDialog
          title={`Remove the setting of ${removing}`}
          danger
          action="Remove"
          run={(dry) =>
            call("delete", "/v0/policies/{name}", {
              path: { name: removing },
              query: dry ? { dry_run: "true" } : {},
            })
          }
          done={`The setting of ${removing} is removed.`}
          reloads={["policies", "usage:", "config"]}
          onClose={() => setQuery({ remove: null })}
        />
      )}
    </Page>
  );
}
