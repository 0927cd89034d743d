// @ts-check
// Examples of every command, for its help: a row for each.

/** @type {Record<string, string[]>} */
export const EXAMPLES = {
  "requests list": ["requests list --pending"],
  "requests show": ["requests show kreq_01K8"],
  "requests approve": [
    "requests approve kreq_01K8 --policy trial --usd-per-month 50",
    "requests approve kreq_01K8 --claim",
  ],
  "requests decline": ['requests decline kreq_01K8 --reason "Use the key of your team"'],
  "requests delete": ["requests delete kreq_01K8 --yes"],
  "keys create": ["keys create --name ci-runner --policy trial --usd-per-month 50"],
  "keys list": ["keys list", "keys list --json"],
  "keys show": ["keys show ci-runner"],
  "keys set": ["keys set ci-runner --usd-per-month 50 --requests-per-minute none"],
  "keys disable": ["keys disable ci-runner"],
  "keys enable": ["keys enable ci-runner"],
  "keys rotate": ["keys rotate ci-runner --overlap 3600"],
  "keys revoke": ["keys revoke ci-runner"],
  "policies list": ["policies list"],
  "policies show": ["policies show trial"],
  "policies set": ['policies set trial --model "groq/*" --usd-per-day 5 --dry-run'],
  "policies edit": ["policies edit trial"],
  "policies remove": ["policies remove trial --dry-run"],
  "aliases list": ["aliases list"],
  "aliases show": ["aliases show fast"],
  "aliases set": ["aliases set fast groq/openai/gpt-oss-20b"],
  "aliases edit": ["aliases edit fast"],
  "aliases remove": ["aliases remove fast"],
  "groups list": ["groups list"],
  "groups show": ["groups show cheap"],
  "groups set": [
    "groups set cheap --model groq/openai/gpt-oss-20b --weight 3 --model openai/gpt-5-nano --weight 1",
  ],
  "groups edit": ["groups edit cheap"],
  "groups remove": ["groups remove cheap"],
  "models list": ["models list"],
  "models show": ["models show groq/openai/gpt-oss-20b"],
  "models set": ["models set groq/openai/gpt-oss-20b --set input_usd_per_mtok=0.05"],
  "models edit": ["models edit groq/openai/gpt-oss-20b"],
  "models remove": ["models remove groq/openai/gpt-oss-20b"],
  config: ["config", "config --json"],
  "providers list": ["providers list --all"],
  "providers test": ["providers test groq", "providers test --yes --json"],
  "providers keys list": ["providers keys list groq"],
  "providers keys add": ['providers keys add groq --label "team account" --weight 3 < key.txt'],
  "providers keys set": ["providers keys set groq pkey_8c1f0a2b3d4e5f60 --weight 2"],
  "providers keys test": [
    "providers keys test groq pkey_8c1f0a2b3d4e5f60",
    "providers keys test groq 0 --model openai/gpt-oss-20b",
  ],
  "providers keys disable": ["providers keys disable groq pkey_8c1f0a2b3d4e5f60"],
  "providers keys enable": ["providers keys enable groq pkey_8c1f0a2b3d4e5f60"],
  "providers keys delete": ["providers keys delete groq pkey_8c1f0a2b3d4e5f60 --yes"],
  "providers keys encrypt": ["providers keys encrypt"],
  "lanes list": ["lanes list"],
  "lanes cooldown": ["lanes cooldown groq:0/openai/gpt-oss-20b --seconds 600"],
  "lanes resume": ["lanes resume groq:0/openai/gpt-oss-20b"],
  usage: ["usage --by key --from 2026-11-01 --csv"],
  calls: ["calls --failed --key ci-runner"],
  "calls show": ["calls show rcpt_01m80sz1vx2gwgx2vz9b3nrvz0"],
  "alerts list": ["alerts list"],
  "alerts history": ["alerts history", "alerts history --json"],
  "alerts settings": ["alerts settings"],
  "alerts set": [
    "alerts set --budget-percent 80 --budget-percent 100 --provider-failing on --dry-run",
    "alerts set --key-expires-days 7 --email ops@example.com",
  ],
  "alerts edit": ["alerts edit"],
  "alerts reset": ["alerts reset --dry-run"],
  "alerts test": ["alerts test"],
  "audit list": ["audit list --after 100"],
  "audit verify": ["audit verify --head HASH"],
  selftest: ["selftest", "selftest --spend --json"],
  completion: [
    "completion bash > ~/.local/share/bash-completion/completions/gateway-operator",
    "completion fish > ~/.config/fish/completions/gateway-operator.fish",
  ],
};

/**
 * Adds the examples to the help of each command that has a row.
 *
 * @param {import("commander").Command} command
 * @param {string[]} above
 */
export function addExamples(command, above = []) {
  for (const one of command.commands) {
    const path = [...above, one.name()];
    const lines = EXAMPLES[path.join(" ")];
    if (lines)
      one.addHelpText("after", ["", "Examples:", ...lines.map((line) => `  ${line}`)].join("\n"));
    addExamples(one, path);
  }
}
