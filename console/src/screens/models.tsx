//! Models, aliases and groups: facts and prices, and the settings that replace them.

import { useState } from "preact/hooks";
import { call } from "../api";
import { useModels, type Model } from "../catalogue";
import { useData } from "../data";
import { count, plural, short, usd } from "../format";
import { place, queryOf, setQuery, to } from "../router";
import { ChangeDialog, LastCells, type Setting } from "../settings";
import {
  AreaField,
  Badge,
  Check,
  Dialog,
  Empty,
  Facts,
  Field,
  Filter,
  Icon,
  Page,
  Pager,
  Panel,
  Show,
  Tabs,
  TextField,
  Time,
} from "../ui/basic";

const PAGE = 50;

const price = (text: string | null | undefined) =>
  text === null || text === undefined ? <span class="muted">unknown</span> : usd(Number(text));
const ABILITIES: [keyof NonNullable<Model["capabilities"]>, string][] = [
  ["tools", "tools"],
  ["json_schema", "JSON schema"],
  ["vision", "vision"],
  ["reasoning", "reasoning"],
];
const linesOf = (text: string) =>
  text.split(/[\n,]/).flatMap((line) => (line.trim() === "" ? [] : [line.trim()]));

// --- Overrides of a model ----------------------------------------------------------------------------------------------

const NUMBERS: [string, string, string][] = [
  ["input_usd_per_mtok", "Input", "USD per million tokens"],
  ["output_usd_per_mtok", "Output", "USD per million tokens"],
  ["cached_input_usd_per_mtok", "Cached input", "USD per million tokens"],
  ["context", "Context", "tokens"],
  ["max_output", "Longest output", "tokens"],
  ["requests_per_day", "Calls per day", "calls"],
];

function Override({
  id,
  of,
  onClose,
}: {
  id: string;
  of: Setting | undefined;
  onClose: () => void;
}) {
  const value = (of?.value ?? {}) as Record<string, unknown>;
  const [fields, setFields] = useState<Record<string, string>>(
    Object.fromEntries(
      NUMBERS.map(([name]) => [
        name,
        value[name] === undefined || value[name] === null ? "" : String(value[name]),
      ]),
    ),
  );
  const [hidden, setHidden] = useState(value["hidden"] === true);
  const body = () => {
    const known = NUMBERS.map(([name]) => name);
    const rest = Object.fromEntries(
      Object.entries(value).filter(
        ([name, was]) => was !== null && !known.includes(name) && name !== "hidden",
      ),
    );
    const numbers = Object.entries(fields).flatMap(([name, text]) =>
      text.trim() === "" ? [] : [[name, Number(text)]],
    );
    return { ...rest, ...Object.fromEntries(numbers), ...(hidden ? { hidden } : {}) };
  };
  return (
    <ChangeDialog
      title={`Settings of ${id}`}
      run={(dry) =>
        call("put", "/v0/models/{id}", {
          path: { id },
          query: dry ? { dry_run: "true" } : {},
          body: body() as never,
        })
      }
      done={`The settings of ${id} apply within 10 seconds.`}
      reloads={["models", "config"]}
      onClose={onClose}
    >
      <p class="hint">
        They replace the facts of the catalogue for this model. Empty: those of the catalogue.
      </p>
      <div class="grid-fields">
        {NUMBERS.map(([name, label, unit], i) => (
          <Field key={name} label={label} hint={unit}>
            {(field) => (
              <input
                id={field}
                type="number"
                min="0"
                step="any"
                autofocus={i === 0}
                value={fields[name] ?? ""}
                onInput={(event) => setFields({ ...fields, [name]: event.currentTarget.value })}
              />
            )}
          </Field>
        ))}
      </div>
      <Check
        label="Hide"
        hint="Not listed, and not a candidate of auto."
        checked={hidden}
        onChecked={setHidden}
      />
    </ChangeDialog>
  );
}

function ModelDialog({ model, onClose }: { model: Model; onClose: () => void }) {
  const settings = useData("models:settings", () => call("get", "/v0/models"));
  const [editing, setEditing] = useState(false);
  const [removing, setRemoving] = useState(false);
  const setting = settings.data?.find(({ name }) => name === model.id);
  if (editing) return <Override id={model.id} of={setting} onClose={onClose} />;
  if (removing)
    return (
      <ChangeDialog
        title={`Remove the settings of ${model.id}`}
        danger
        action="Remove"
        run={(dry) =>
          call("delete", "/v0/models/{id}", {
            path: { id: model.id },
            query: dry ? { dry_run: "true" } : {},
          })
        }
        done={`The facts of the catalogue apply to ${model.id} again.`}
        reloads={["models", "config"]}
        onClose={onClose}
      />
    );
  const facts: [string, preact.ComponentChildren][] = [
    ["Provider", <bdi>{model.owned_by}</bdi>],
    ["Task", model.task ?? "unknown"],
    ["Context", model.context_length ? `${count(model.context_length)} tokens` : "unknown"],
    [
      "Longest output",
      model.max_output_tokens ? `${count(model.max_output_tokens)} tokens` : "unknown",
    ],
    ["Input, per million tokens", price(model.pricing?.input)],
    ["Output, per million tokens", price(model.pricing?.output)],
    ["Cached input, per million tokens", price(model.pricing?.cached_input)],
    [
      "Abilities",
      ABILITIES.map(
        ([name, label]) =>
          `${label}: ${{ true: "yes", false: "no" }[String(model.capabilities?.[name])] ?? "unknown"}`,
      ).join(", "),
    ],
    ["Ends", model.deprecation_date ?? "no date is known"],
  ];
  if (model.alias_of) facts.unshift(["Alias of", <bdi>{model.alias_of}</bdi>]);
  if (model.group_of) facts.unshift(["Group of", <bdi>{model.group_of.join(", ")}</bdi>]);
  return (
    <Dialog title={model.id} wide onClose={onClose}>
      {(close) => (
        <>
          <div class="body">
            <Facts of={facts} />
            {setting && (
              <p class="note-box">
                {setting.source === "database"
                  ? "Some of this is set here"
                  : `Some of this is set in ${setting.source}`}
                {setting.changed_by && (
                  <>
                    , by <bdi>{setting.changed_by}</bdi> <Time at={setting.changed_at} />
                  </>
                )}
                .
              </p>
            )}
          </div>
          <footer>
            <a class="button" href={to(["lab"], { model: model.id })} onClick={close}>
              Try it
            </a>
            {setting?.source === "database" && (
              <button type="button" onClick={() => setRemoving(true)}>
                Remove the settings
              </button>
            )}
            {!model.alias_of && !model.group_of && (
              <button type="button" class="primary" onClick={() => setEditing(true)}>
                Change price or facts
              </button>
            )}
          </footer>
        </>
      )}
    </Dialog>
  );
}

function ModelList() {
  const models = useModels(null);
  const search = queryOf("q").trim().toLowerCase();
  const page = Math.max(1, Number(queryOf("page", "1")) || 1);
  const found = (models.data ?? []).filter(({ id }) => id.toLowerCase().includes(search));
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(page, pages);
  const open = models.data?.find(({ id }) => id === queryOf("open"));
  return (
    <>
      <div class="tools">
        <Filter
          label="Filter by name"
          value={queryOf("q")}
          onValue={(q) => setQuery({ q, page: null })}
        />
      </div>
      <Show of={models} rows={10}>
        {(all) =>
          found.length === 0 ? (
            <Empty
              icon="models"
              title={all.length === 0 ? "No model is available" : "No model matches"}
            >
              <p>Models appear when their provider is configured.</p>
            </Empty>
          ) : (
            <Panel flush>
              <div class="scroll" tabIndex={0} role="group" aria-label="Models">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Model</th>
                      <th scope="col" class="num">
                        Context
                      </th>
                      <th scope="col" class="num">
                        Input / M
                      </th>
                      <th scope="col" class="num">
                        Output / M
                      </th>
                      <th scope="col">Abilities</th>
                    </tr>
                  </thead>
                  <tbody>
                    {found.slice((at - 1) * PAGE, at * PAGE).map((model) => (
                      <tr key={model.id}>
                        <th scope="row" class="clip">
                          <button
                            type="button"
                            class="link"
                            onClick={() => setQuery({ open: model.id })}
                          >
                            <bdi>{model.id}</bdi>
                          </button>
                          {model.alias_of && (
                            <span class="muted">
                              {" "}
                              alias of <bdi>{model.alias_of}</bdi>
                            </span>
                          )}
                          {model.group_of && (
                            <span class="muted">
                              {" "}
                              group of {plural(model.group_of.length, "model")}
                            </span>
                          )}
                        </th>
                        <td class="num">
                          {model.context_length ? (
                            short(model.context_length)
                          ) : (
                            <span class="muted">unknown</span>
                          )}
                        </td>
                        <td class="num">{price(model.pricing?.input)}</td>
                        <td class="num">{price(model.pricing?.output)}</td>
                        <td>
                          <span class="chips">
                            {ABILITIES.filter(([name]) => model.capabilities?.[name]).map(
                              ([name, label]) => (
                                <Badge key={name}>{label}</Badge>
                              ),
                            )}
                          </span>
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
      <Pager
        page={at}
        pages={pages}
        total={plural(found.length, "model")}
        onPage={(next) => setQuery({ page: next === 1 ? null : String(next) })}
      />
      {open && <ModelDialog key={open.id} model={open} onClose={() => setQuery({ open: null })} />}
    </>
  );
}

// --- Aliases and groups ------------------------------------------------------------------------------------------------

const Suggestions = () => {
  const models = useModels(null);
  return (
    <datalist id="model-names">
      {(models.data ?? [])
        .filter(({ alias_of }) => !alias_of)
        .slice(0, 1000)
        .map(({ id }) => (
          <option key={id} value={id} />
        ))}
    </datalist>
  );
};

function EditAlias({ of, onClose }: { of: Setting | null; onClose: () => void }) {
  const [name, setName] = useState(of?.name ?? "");
  const [model, setModel] = useState((of?.value as { model?: string } | null)?.model ?? "");
  return (
    <ChangeDialog
      title={of ? `Alias ${of.name}` : "Create an alias"}
      disabled={name.trim() === "" || model.trim() === ""}
      run={(dry) =>
        call("put", "/v0/aliases/{name}", {
          path: { name: name.trim() },
          query: dry ? { dry_run: "true" } : {},
          body: { model: model.trim() },
        })
      }
      done={`The alias ${name} applies within 10 seconds.`}
      reloads={["aliases", "models", "config"]}
      onClose={onClose}
    >
      <TextField
        label="Name that callers use"
        required
        autofocus={!of}
        readOnly={of !== null}
        value={name}
        onValue={setName}
      />
      <TextField
        label="Model or group"
        required
        list="model-names"
        autofocus={of !== null}
        value={model}
        onValue={setModel}
      />
      <Suggestions />
    </ChangeDialog>
  );
}

function EditGroup({ of, onClose }: { of: Setting | null; onClose: () => void }) {
  const value = (of?.value ?? {}) as { models?: string[]; weights?: number[] };
  const [name, setName] = useState(of?.name ?? "");
  const [models, setModels] = useState((value.models ?? []).join("\n"));
  const [weighted, setWeighted] = useState((value.weights ?? []).length > 0);
  const [weights, setWeights] = useState<Record<string, number>>(
    Object.fromEntries((value.models ?? []).map((model, i) => [model, value.weights?.[i] ?? 1])),
  );
  const list = linesOf(models);
  const sum = list.reduce((total, model) => total + (weights[model] ?? 1), 0) || 1;
  return (
    <ChangeDialog
      title={of ? `Group ${of.name}` : "Create a group"}
      disabled={name.trim() === "" || list.length === 0}
      run={(dry) =>
        call("put", "/v0/groups/{name}", {
          path: { name: name.trim() },
          query: dry ? { dry_run: "true" } : {},
          body: {
            models: list,
            ...(weighted ? { weights: list.map((model) => weights[model] ?? 1) } : {}),
          },
        })
      }
      done={`The group ${name} applies within 10 seconds.`}
      reloads={["groups", "models", "config"]}
      onClose={onClose}
    >
      <TextField
        label="Name that callers use"
        required
        autofocus={!of}
        readOnly={of !== null}
        value={name}
        onValue={setName}
      />
      <AreaField
        label="Models"
        mono
        rows={4}
        hint={
          weighted ? "One on each line." : "One on each line, in the order in which they are tried."
        }
        value={models}
        onValue={setModels}
      />
      <Check
        label="Share calls by weight"
        hint="Otherwise the first available model gets every call."
        checked={weighted}
        onChecked={setWeighted}
      />
      {weighted &&
        list.map((model) => (
          <label key={model} class="slider">
            <bdi class="clip">{model}</bdi>
            <input
              type="range"
              min="0"
              max="100"
              value={weights[model] ?? 1}
              onInput={(event) =>
                setWeights({ ...weights, [model]: Number(event.currentTarget.value) })
              }
            />
            <span class="num">
              {weights[model] ?? 1} · {Math.round((100 * (weights[model] ?? 1)) / sum)} %
            </span>
          </label>
        ))}
    </ChangeDialog>
  );
}

function Table({ kind }: { kind: "aliases" | "groups" }) {
  const settings = useData(kind, () => call("get", `/v0/${kind}`), 30);
  const isAlias = kind === "aliases";
  const word = isAlias ? "alias" : "group";
  const open = settings.data?.find(({ name }) => name === queryOf("open"));
  const removing = queryOf("remove");
  const Edit = isAlias ? EditAlias : EditGroup;
  const text = (value: object | null) => {
    const { model, models, weights } = (value ?? {}) as {
      model?: string;
      models?: string[];
      weights?: number[];
    };
    if (model !== undefined) return model;
    return (models ?? [])
      .map((one, i) => (weights?.[i] === undefined ? one : `${one} (${weights[i]})`))
      .join(", ");
  };
  return (
    <>
      <Show of={settings}>
        {(list) =>
          list.length === 0 ? (
            <Empty icon="models" title={isAlias ? "There are no aliases" : "There are no groups"}>
              <p>
                {isAlias
                  ? "An alias is a name for a model that you can point elsewhere without changing callers."
                  : "A group is a name for several models: in order of preference, or sharing calls by weight."}
              </p>
              <button type="button" class="primary" onClick={() => setQuery({ create: "1" })}>
                Create {isAlias ? "an alias" : "a group"}
              </button>
            </Empty>
          ) : (
            <Panel flush>
              <div
                class="scroll"
                tabIndex={0}
                role="group"
                aria-label={isAlias ? "Aliases" : "Groups"}
              >
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Name</th>
                      <th scope="col">{isAlias ? "Model" : "Models"}</th>
                      <th scope="col">Source</th>
                      <th scope="col">Changed</th>
                      <th scope="col">
                        <span class="sr">Actions</span>
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {list.map((one) => (
                      <tr key={one.name}>
                        <th scope="row" class="clip">
                          <button
                            type="button"
                            class="link"
                            onClick={() => setQuery({ open: one.name })}
                          >
                            <bdi>{one.name}</bdi>
                          </button>
                        </th>
                        <td class="clip">
                          <bdi>{text(one.value)}</bdi>
                        </td>
                        <LastCells of={one} />
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </Panel>
          )
        }
      </Show>
      {queryOf("create") !== "" && <Edit of={null} onClose={() => setQuery({ create: null })} />}
      {open && <Edit key={open.name} of={open} onClose={() => setQuery({ open: null })} />}
      {removing !== "" && (
        <ChangeDialog
          title={`Remove the ${word} ${removing}`}
          danger
          action="Remove"
          run={(dry) =>
            call("delete", `/v0/${kind}/{name}`, {
              path: { name: removing },
              query: dry ? { dry_run: "true" } : {},
            })
          }
          done={`The ${word} ${removing} is removed.`}
          reloads={[kind, "models", "config"]}
          onClose={() => setQuery({ remove: null })}
        />
      )}
    </>
  );
}

export default function Models() {
  const tab = place.value.parts[1] ?? "models";
  return (
    <Page
      title="Models"
      lead="Models that callers can name, with their prices and abilities. Changes apply within 10 seconds."
      actions={
        tab !== "models" && (
          <button type="button" class="primary" onClick={() => setQuery({ create: "1" })}>
            <Icon name="plus" /> Create {tab === "aliases" ? "an alias" : "a group"}
          </button>
        )
      }
    >
      <Tabs
        label="Models, aliases and groups"
        tabs={[
          { href: to(["models"]), name: "Models", current: tab === "models" },
          { href: to(["models", "aliases"]), name: "Aliases", current: tab === "aliases" },
          { href: to(["models", "groups"]), name: "Groups", current: tab === "groups" },
        ]}
      />
      {tab === "aliases" || tab === "groups" ? <Table key={tab} kind={tab} /> : <ModelList />}
    </Page>
  );
}
