//! The tabs of the section "Settings".

import { section, to } from "./router";
import { Tabs } from "./ui/basic";

export const SettingsTabs = () => (
  <Tabs
    label="Settings"
    tabs={[
      { href: to(["settings"]), name: "Configuration", current: section.value === "settings" },
      { href: to(["alerts"]), name: "Alerts", current: section.value === "alerts" },
      { href: to(["audit"]), name: "Audit", current: section.value === "audit" },
      { href: to(["selftest"]), name: "Self-test", current: section.value === "selftest" },
    ]}
  />
);
