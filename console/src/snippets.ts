//! Programs and settings that call this gateway: curl, SDKs, and the tools that people use it with. The key is read from a variable;
//! it is never part of a snippet.

export interface Snippet {
  id: string;
  name: string;
  /** The file or place that the text belongs to. */
  where: string;
  text: string;
}

const VARIABLE = "GATEHOUSE_API_KEY";

/** A text as a word of a shell. */
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A request as a program. */
export function programs(origin: string, path: string, body: object): Snippet[] {
  const json = JSON.stringify(body, null, 2);
  const url = `${origin}${path}`;
  const python = json
    .replace(/\btrue\b(?=[,\n}\]])/g, "True")
    .replace(/\bfalse\b(?=[,\n}\]])/g, "False")
    .replace(/\bnull\b(?=[,\n}\]])/g, "None");
  return [
    {
      id: "curl",
      name: "curl",
      where: "Shell",
      text: `curl ${url} \\\n  -H "Authorization: Bearer $${VARIABLE}" \\\n  -H "Content-Type: application/json" \\\n  -d ${quoted(json)}`,
    },
    {
      id: "python",
      name: "Python",
      where: "pip install openai",
      text: `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=os.environ["${VARIABLE}"])\nbody = ${python}\nresponse = client.post("${path.replace("/v1", "")}", body=body, cast_to=object)\nprint(response)`,
    },
    {
      id: "js",
      name: "JavaScript",
      where: "Node.js 18 or newer",
      text: `const response = await fetch("${url}", {\n  method: "POST",\n  headers: {\n    authorization: \`Bearer \${process.env.${VARIABLE}}\`,\n    "content-type": "application/json",\n  },\n  body: JSON.stringify(${json.replaceAll("\n", "\n  ")}),\n});\nconsole.log(await response.json());`,
    },
  ];
}

/** Settings of tools and SDKs for a model. */
export function tools(origin: string, model: string): Snippet[] {
  const v1 = `${origin}/v1`;
  const say = { model, messages: [{ role: "user", content: "Say hello." }] };
  const one = JSON.stringify(model);
  const [curl] = programs(origin, "/v1/chat/completions", say);
  return [
    ...(curl ? [curl] : []),
    {
      id: "python",
      name: "Python",
      where: "pip install openai",
      text: `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${v1}", api_key=os.environ["${VARIABLE}"])\nresponse = client.chat.completions.create(\n    model=${one},\n    messages=[{"role": "user", "content": "Say hello."}],\n)\nprint(response.choices[0].message.content)`,
    },
    {
      id: "node",
      name: "Node.js",
      where: "npm install openai",
      text: `import OpenAI from "openai";\n\nconst client = new OpenAI({\n  baseURL: "${v1}",\n  apiKey: process.env.${VARIABLE},\n});\nconst response = await client.chat.completions.create({\n  model: ${one},\n  messages: [{ role: "user", content: "Say hello." }],\n});\nconsole.log(response.choices[0].message.content);`,
    },
    {
      id: "claude-code",
      name: "Claude Code",
      where: "Shell",
      text: `export ANTHROPIC_BASE_URL=${origin}\nexport ANTHROPIC_AUTH_TOKEN=$${VARIABLE}\nexport ANTHROPIC_MODEL=${quoted(model)}\nclaude`,
    },
    {
      id: "codex",
      name: "Codex",
      where: "~/.codex/config.toml",
      text: `model = ${one}\nmodel_provider = "gatehouse"\n\n[model_providers.gatehouse]\nname = "Gatehouse"\nbase_url = "${v1}"\nenv_key = "${VARIABLE}"\nwire_api = "responses"`,
    },
    {
      id: "cursor",
      name: "Cursor",
      where: "Settings, Models, API keys",
      text: `Override OpenAI Base URL: ${v1}\nOpenAI API Key: your key\nCustom model: ${model}`,
    },
    {
      id: "continue",
      name: "Continue",
      where: "~/.continue/config.yaml",
      text: `name: Gatehouse\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: ${one}\n    provider: openai\n    model: ${one}\n    apiBase: ${v1}\n    apiKey: \${{ secrets.${VARIABLE} }}`,
    },
    {
      id: "cline",
      name: "Cline",
      where: "Settings, API Provider",
      text: `API Provider: OpenAI Compatible\nBase URL: ${v1}\nAPI Key: your key\nModel ID: ${model}`,
    },
    {
      id: "open-webui",
      name: "Open WebUI",
      where: "Environment of the container",
      text: `OPENAI_API_BASE_URL=${v1}\nOPENAI_API_KEY=$${VARIABLE}`,
    },
    {
      id: "librechat",
      name: "LibreChat",
      where: "librechat.yaml",
      text: `version: 1.2.1\nendpoints:\n  custom:\n    - name: "Gatehouse"\n      apiKey: "\${${VARIABLE}}"\n      baseURL: "${v1}"\n      models:\n        default: [${one}]\n        fetch: true`,
    },
  ];
}
