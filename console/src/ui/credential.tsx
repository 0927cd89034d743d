//! New credentials of a key: the dialog that shows one once, and the choice of an overlap.

import { ResultDialog, Secret, SelectField, Time } from "./basic";

/** A key or a claim link, and when the previous secret or the link ends. */
export interface Credential {
  api_key?: string;
  claim_url?: string;
  ends?: string | null;
}

/** Shows a credential once. */
export const NewCredential = (
  props: Credential & { title: string; note?: string; onClose: () => void },
) => (
  <ResultDialog title={props.title} wide onClose={props.onClose}>
    {() => (
      <>
        {props.api_key && <Secret text={props.api_key} label="Key" />}
        {props.claim_url && <Secret text={props.claim_url} label="Claim link" />}
        <p class="hint">
          {props.api_key
            ? "Shown once: the gateway does not store it."
            : "The link works once: it shows the key to the person who opens it."}
          {props.ends && (
            <>
              {" "}
              {props.api_key ? "The previous secret works until " : "It ends "}
              <Time at={props.ends} />.
            </>
          )}
          {props.note && ` ${props.note}`}
        </p>
      </>
    )}
  </ResultDialog>
);

/** The time for which the present secret keeps working after a rotation, in seconds. */
export const OverlapField = (props: {
  value: string;
  hint?: string;
  onValue: (value: string) => void;
}) => (
  <SelectField
    label="The present secret works for another"
    value={props.value}
    onValue={props.onValue}
    options={[
      ["0", "0 s: it has leaked"],
      ["3600", "hour"],
      ["86400", "day"],
      ["604800", "week"],
    ]}
    hint={props.hint}
  />
);
