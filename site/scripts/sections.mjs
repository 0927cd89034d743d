// @ts-check
//! The order of the pages: of the sidebar, and of llms.txt.

export const SECTIONS = [
  { label: "Start", pages: ["index", "start", "clients"] },
  {
    label: "Call",
    pages: [
      "authentication",
      "request-a-key",
      "models",
      "catalogue",
      "routing",
      "requests",
      "messages",
      "responses",
      "translation",
      "embeddings",
      "other-endpoints",
      "usage",
      "limits",
      "errors",
      "guarantees",
    ],
  },
  {
    label: "Operate",
    pages: [
      "deploy",
      "configuration",
      "operate/console",
      "operate/cloudflare-access",
      "operate/requests",
      "operate/policies",
      "operate/keys",
      "operate/settings",
      "operate/providers",
      "operate/provider-keys",
      "operate/notifications",
      "operate/audit",
      "operate/usage",
      "operate/monitoring",
      "operate/log",
      "operate/self-test",
      "costs",
    ],
  },
  {
    label: "Background",
    pages: ["architecture", "security", "threat-model", "performance", "changelog"],
  },
];
