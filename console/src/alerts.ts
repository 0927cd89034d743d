//! The alerts that hold, their last changes, their settings and their channels.

import { call, type Schemas } from "./api";
import { useData } from "./data";

export type AlertSettings = Schemas["AlertSettings"];

/** The conditions of alerts, as people read them. */
export const CONDITIONS: Record<Schemas["Alert"]["alert"], string> = {
  budget: "Budget",
  key_expiring: "Key expires",
  provider_failing: "Provider fails",
  error_rate: "Error rate",
  requests_waiting: "Requests wait",
  test: "Test",
};

export const useAlerts = () => useData("alerts", () => call("get", "/v0/alerts"), 30);
