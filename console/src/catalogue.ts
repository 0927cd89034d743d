//! The models that a key may use, or all public ones, in OpenAI's shape.

import { call, type Schemas } from "./api";
import { useData } from "./data";

export type Model = Schemas["Model"];

/** `key`: undefined for the key of the page, null for none. */
async function load(key: string | null | undefined): Promise<Model[]> {
  const list = await call("get", "/v1/models", key === undefined ? {} : { key });
  return (list as Schemas["ModelList"]).data;
}

export const useModels = (key?: string | null) =>
  useData(
    `models:${key === undefined ? "mine" : key === null ? "all" : key.slice(0, 13)}`,
    () => load(key),
    60,
  );
