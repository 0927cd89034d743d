// @ts-check
//! Builds the console into `dist/`: two pages, their style sheet, their icon, and scripts. The names of files contain their hash, so
//! that browsers keep them. Screens are loaded when they are opened first.
//!
//! It fails if the console is larger than its limits. `_headers` are rules for the static files, which `scripts/build` adds to those of
//! the documentation.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { LIMITS } from "./limits.mjs";

const here = new URL("./", import.meta.url).pathname;
const dist = `${here}dist/`;

rmSync(dist, { recursive: true, force: true });
for (const folder of ["console", "key"]) mkdirSync(dist + folder, { recursive: true });

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { console: "src/console.tsx", key: "src/key.tsx", style: "src/style.css" },
  outdir: "dist/console/files",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  metafile: true,
  logLevel: "warning",
});

const outputs = Object.entries(metafile.outputs).map(([path, output]) => ({
  ...output,
  path,
  url: `/${path.replace(/^dist\//, "")}`,
  gzipped: gzipSync(readFileSync(here + path), { level: 9 }).length,
}));

/** @param {string} source */
const outputOf = (source) => {
  const output = outputs.find(({ entryPoint }) => entryPoint === source);
  if (!output) throw new Error(`${source} has no output`);
  return output;
};

/**
 * A script and those that it imports statically.
 *
 * @param {string} path
 * @param {Set<string>} [found]
 */
function withImports(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const { path: next, kind } of metafile.outputs[path]?.imports ?? [])
    if (kind === "import-statement") withImports(next, found);
  return found;
}

const icon = readFileSync(`${here}static/icon.svg`);
const iconUrl = `/console/files/icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8)}.svg`;
writeFileSync(dist + iconUrl.slice(1), icon);

const style = outputOf("src/style.css");
let first = 0;
for (const [name, source, title, screen] of /** @type {const} */ ([
  ["console", "src/console.tsx", "Gatehouse console", "src/screens/overview.tsx"],
  ["key", "src/key.tsx", "Your key · Gatehouse", null],
])) {
  const script = outputOf(source);
  const needed = withImports(script.path);
  // The first view of operators is the overview, which is a part of its own.
  const opened = screen === null ? [] : [...withImports(outputOf(screen).path)];
  const preloads = [...needed].filter((path) => path !== script.path);
  const html = readFileSync(`${here}static/page.html`, "utf8")
    .replaceAll("{{title}}", title)
    .replace("{{icon}}", iconUrl)
    .replace("{{style}}", style.url)
    .replace("{{script}}", script.url)
    .replace(
      "{{preloads}}",
      preloads
        .map((path) => `<link rel="modulepreload" href="/${path.replace(/^dist\//, "")}">`)
        .join("\n    "),
    );
  writeFileSync(`${dist}${name}/index.html`, html);
  const files = new Set([...needed, ...opened, style.path]);
  const bytes = outputs
    .filter(({ path }) => files.has(path))
    .reduce((sum, { gzipped }) => sum + gzipped, gzipSync(html).length);
  first = Math.max(first, bytes);
}
copyFileSync(`${here}static/_headers`, `${dist}_headers`);

const all = outputs.reduce((sum, { gzipped }) => sum + gzipped, 0);
console.log(
  `gzipped: ${all} bytes (limit ${LIMITS.all}), first view ${first} (limit ${LIMITS.first})`,
);
if (all > LIMITS.all || first > LIMITS.first) {
  console.error("the console is larger than its limit");
  process.exitCode = 1;
}
