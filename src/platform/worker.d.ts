/** The module that `scripts/bindgen` generates from `src/lib.rs`; `scripts/build` resolves its name. */
declare module "gatehouse-worker" {
  export function fetch(request: Request, env: unknown, context: ExecutionContext): unknown;

  export function logPanics(): void;
  /** The number of calls whose records are lost if the instance fails now. */
  export function unrecorded(): number;
  /** Takes note of the calls whose records were lost with an earlier instance. */
  export function recordsLost(calls: number): void;

  /** Replaces the Wasm instance by a new one. */
  export function __wbg_reset_state(): void;

  export type ObjectInRust = new (
    state: DurableObjectState,
    env: unknown,
  ) => {
    fetch(request: Request): Promise<Response>;
    alarm(): Promise<unknown>;
  };
  export const KeyLedger: ObjectInRust;
  export const Notifier: ObjectInRust;
  export const ProviderHealth: ObjectInRust;
  export const RateLimiter: ObjectInRust;
}

// Types that the runtime's own lack.
interface ErrorConstructor {
  stackTraceLimit: number;
}
declare function addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
