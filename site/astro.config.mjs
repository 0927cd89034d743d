// @ts-check
import starlight from "@astrojs/starlight";
import { defineConfig, passthroughImageService } from "astro/config";
import { sidebar } from "./scripts/reference.mjs";
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
      head: [
        { tag: "script", attrs: { src: "/docs/tabs.js" } },
        { tag: "script", attrs: { type: "module", src: "/docs/live.js" } },
      ],
      components: { Footer: "./src/Footer.astro", MarkdownContent: "./src/MarkdownContent.astro" },
      expressiveCode: {
        // Without a title bar, the copy button is inside the frame.
        defaultProps: { frame: "none" },
        styleOverrides: { borderRadius: "0.4rem" },
      },
      pagefind: { ranking: { metaWeights: { title: 5, keywords: 12 } } },
      sidebar: [...SECTIONS.map(({ label, pages }) => ({ label, items: pages })), sidebar()],
    }),
  ],
});
