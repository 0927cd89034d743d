//! The choice of the policies of a key.

import { call } from "./api";
import { useData } from "./data";
import { to } from "./router";
import { Check } from "./ui/basic";
import { limitsText } from "./ui/limits";

export function PolicyChoice(props: { chosen: string[]; onChosen: (chosen: string[]) => void }) {
  const policies = useData("policies", () => call("get", "/v0/policies"));
  const limits = new Map(
    policies.data?.map(({ name, value }) => [
      name,
      limitsText((value as { limits?: object } | null)?.limits) || "no limits",
    ]),
  );
  // A policy that was removed stays with its keys until it is taken from them.
  const removed = policies.data ? props.chosen.filter((name) => !limits.has(name)) : [];
  return (
    <fieldset>
      <legend>Policies</legend>
      {[...limits.keys(), ...removed].map((name) => (
        <Check
          key={name}
          label={<bdi>{name}</bdi>}
          hint={limits.get(name) ?? "removed: the key may do nothing"}
          checked={props.chosen.includes(name)}
          onChecked={(on) =>
            props.onChosen(
              on ? [...props.chosen, name] : props.chosen.filter((other) => other !== name),
            )
          }
        />
      ))}
      {policies.data?.length === 0 && (
        <p class="hint">
          There are no policies: the key may use every model.{" "}
          <a href={to(["policies"])}>Create one</a>
        </p>
      )}
      {policies.error && <p class="form-error">{policies.error.message}</p>}
      {props.chosen.length === 0 && limits.size > 0 && (
        <p class="hint">Without a policy the key may use every model and endpoint.</p>
      )}
    </fieldset>
  );
}
