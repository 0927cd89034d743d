// @ts-check
import starlight from "@astrojs/starlight";
import { defineConfig, passthroughImageService } from "astro/config";
import starlightOpenAPI, { openAPISidebarGroups } from "starlight-openapi";
import { SECTIONS } from "./scripts/sections.mjs";

export default defineConfig({
  base: "/docs",
  // As the gateway serves them (html_handling of wrangler.toml): /docs/start is start/index.html.
  trailingSlash: "never",
  build: { format: "directory", inlineStylesheets: "never" },
  image: { service: passthroughImageService() },
  devToolbar: { enabled: false },
  prefetch: false,
  integrations: [
    starlight({
      title: "Gatehouse",
      logo: { src: "./src/icon.svg", alt: "" },
      favicon: "/icon.svg",
      disable404Route: true,
      customCss: ["./src/styles/site.css", "./.generated/charts.css"],
      head: [{ tag: "script", attrs: { type: "module", src: "/docs/live.js" } }],
      components: { Footer: "./src/Footer.astro" },
      expressiveCode: {
        styleOverrides: { borderRadius: "0.4rem" },
      },
      plugins: [
        starlightOpenAPI([
          {
            base: "api",
            schema: "../openapi.json",
            sidebar: { label: "API reference", operations: { badges: true } },
            // Only the examples of openapi.json, which tests have checked; no generated ones.
            snippets: { operation: false, requestBody: false, response: false },
          },
        ]),
      ],
      sidebar: [
        ...SECTIONS.map(({ label, pages }) => ({ label, items: pages })),
        ...openAPISidebarGroups,
      ],
    }),
  ],
});
