//! The number of key requests that wait for an operator.

import { call } from "./api";
import { useData } from "./data";

const load = () =>
  call("get", "/api/portal/requests", { query: { approved: false } }).then(({ Data, Pages }) => ({
    count: Data.length,
    // Pages have ten requests; the number on the last one is not known.
    text: Pages > 1 ? `${(Pages - 1) * 10}+` : String(Data.length),
  }));

export const usePending = () => useData("requests:pending", load, 15);
