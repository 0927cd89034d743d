// @ts-check
import { defineConfig, passthroughImageService } from "astro/config";
import starlight from "@astrojs/starlight";
import starlightOpenAPI, { openAPISidebarGroups } from "starlight-openapi";

export default defineConfig({
  base: "/docs",
  outDir: "./dist",
  trailingSlash: "never",
  build: { format: "file", inlineStylesheets: "never" },
  image: { service: passthroughImageService() },
  devToolbar: { enabled: false },
  integrations: [
    starlight({
      title: "Gatehouse",
      favicon: "/icon.svg",
      disable404Route: true,
      pagination: true,
      credits: false,
      customCss: ["./src/styles/site.css"],
      plugins: [
        starlightOpenAPI([{ base: "api", schema: "../openapi.json", sidebar: { label: "API reference" } }]),
      ],
      sidebar: [{ label: "Start", items: ["index"] }, ...openAPISidebarGroups],
    }),
  ],
});
